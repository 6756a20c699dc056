// The common interface of checkpoints: named tensors, read one at a time, whatever the file format.

import type { StoredTensor } from './stored-tensor.ts'

/** What a file says of one tensor. */
export interface CheckpointTensor {
  readonly shape: readonly number[]
  /** In safetensors' words: `F32`, `F16`, `BF16`, `F64`, `I64` and so on. */
  readonly dtype: string
  /** Numbers in it: the product of `shape`. */
  readonly length: number
}

/** An open file, or several that belong together. */
export interface Checkpoint {
  readonly path: string
  /** For people: `safetensors`, `PyTorch (zip)`. */
  readonly format: string
  /** What the file says of itself beside its tensors. */
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: ReadonlyMap<string, CheckpointTensor>

  /**
   * One tensor as float32, row-major in the order of its shape; the caller owns it. F64 is rounded. It may be read into `into`,
   * which is the result then; never where that is of another length.
   *
   * @throws ResidualError TENSOR_NOT_FOUND, NON_FINITE, OUT_OF_MEMORY, FILE_NOT_FOUND where reading fails, CHECKPOINT_INVALID for
   *   dtypes that weights cannot have, or a file that is not what it was when it was opened
   */
  read(name: string, into?: Float32Array): Promise<Float32Array>

  /**
   * As {@link read}, with the tensor's dimensions in the order of `axes`: `[1, 0]` transposes a matrix. There where the file's own
   * order then takes no memory.
   */
  readTurned?(name: string, axes: readonly number[], into?: Float32Array): Promise<Float32Array>

  /** Where a tensor lies in a file; undefined where it does not lie there as weights are: {@link read} makes them then, or refuses. */
  stored?(name: string): StoredTensor | undefined

  /**
   * Several small tensors as {@link read} returns them, in fewer readings. Whether the file has changed may not have been looked at:
   * see {@link checkUnchanged}.
   */
  readTogether?(names: readonly string[]): Promise<Float32Array[]>

  /** @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID where a file was changed since it was opened */
  checkUnchanged?(): Promise<void>

  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** A key of `metadata`: options of a ResNet as JSON, for what no shape tells (stride, epsilon). Files of ours and readers set it. */
export const architectureKey = 'residual.architecture'

/** A key of `metadata`: members of a preprocessing as JSON, where a file says what the network does to images. Readers set it. */
export const preprocessingKey = 'residual.preprocessing'

/** A key of `metadata`: why the network of the file is none that can be run, though its tensors may be a ResNet's. Readers set it. */
export const problemKey = 'residual.problem'

/** A key of `metadata`: the names of the classes as JSON, a list or numbers by name, where the file has them. Readers set it. */
export const labelsKey = 'residual.labels'

/** A key of `metadata`: what makes probabilities of the logits, where the file says it. Files of ours and readers set it. */
export const activationKey = 'residual.activation'
