// The common interface of checkpoints: named tensors, read one at a time, whatever the file format.

import type { QuantizedTensor } from '../tensors/quantized-tensor.ts'
import type { StoredTensor } from './stored-tensor.ts'

/** A file's description of one tensor. */
export interface CheckpointTensor {
  readonly shape: readonly number[]
  /** As safetensors names it: `F32`, `F16`, `BF16`, `F64`, `I64` and so on. */
  readonly dtype: string
  /** The number of elements: the product of `shape`. */
  readonly length: number
}

/** An open file, or several that belong together. */
export interface Checkpoint {
  readonly path: string
  /** For people: `safetensors`, `PyTorch (zip)`. */
  readonly format: string
  /** What the file says besides its tensors. */
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: ReadonlyMap<string, CheckpointTensor>

  /**
   * One tensor as float32, row-major in the order of its shape; the caller owns it. F64 is rounded, and quantized ones are
   * multiplied by their scales. It may be read into `into`, which is then the result, if that has the right length.
   *
   * @throws ResidualError TENSOR_NOT_FOUND, NON_FINITE, OUT_OF_MEMORY, FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID for
   *   dtypes that weights cannot have, or a file that has changed since it was opened
   */
  read(name: string, into?: Float32Array): Promise<Float32Array>

  /**
   * Like {@link read}, with the tensor's dimensions in the order of `axes`: `[1, 0]` transposes a matrix. Present if the file
   * can do so without extra memory.
   */
  readTurned?(name: string, axes: readonly number[], into?: Float32Array): Promise<Float32Array>

  /**
   * Where a tensor is stored; undefined if it is not stored in a form that weights can have: {@link read} then converts or
   * refuses it.
   */
  stored?(name: string): StoredTensor | undefined

  /**
   * A quantized tensor as it is stored, of type I8; the caller owns it. Undefined for tensors that are not quantized.
   *
   * @throws ResidualError TENSOR_NOT_FOUND, OUT_OF_MEMORY, FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID for scales that are
   *   not positive, integers of -128, or a file that has changed since it was opened
   */
  readIntegers?(name: string): Promise<QuantizedTensor | undefined>

  /**
   * Several small tensors, as {@link read} returns them, in fewer reads. It need not check whether the file has changed: see
   * {@link checkUnchanged}.
   */
  readTogether?(names: readonly string[]): Promise<Float32Array[]>

  /** @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID if a file has changed since it was opened */
  checkUnchanged?(): Promise<void>

  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** A key of `metadata`: options of a ResNet as JSON that no shape reveals (stride, epsilon). Set by our files and by readers. */
export const architectureKey = 'residual.architecture'

/** A key of `metadata`: members of a preprocessing as JSON, if the file states them. Set by readers. */
export const preprocessingKey = 'residual.preprocessing'

/** A key of `metadata`: why the file's network is not supported even though its tensors may be a ResNet's. Set by readers. */
export const problemKey = 'residual.problem'

/** A key of `metadata`: the class labels as JSON, a list or indices by name, if the file has them. Set by readers. */
export const labelsKey = 'residual.labels'

/** A key of `metadata`: the output activation, if the file states it. Set by our files and by readers. */
export const activationKey = 'residual.activation'

/** A key of `metadata`: why a network that its file quantizes is computed in float32 all the same. Set by readers. */
export const unquantizedKey = 'residual.unquantized'
