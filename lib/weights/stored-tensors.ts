// Which tensors can the addon read from their files itself, as they lie there?
import type { Checkpoint } from './checkpoint.ts'
import type { FilePlace } from './checkpoint-file.ts'
import type { WeightSource } from './source.ts'
import type { StoredType } from './stored-type.ts'

/** Where all numbers of a tensor lie, row-major and in this machine's byte order. */
export interface StoredTensor {
  readonly place: FilePlace
  readonly type: StoredType
  /**
   * To be awaited before the numbers are believed, where the file has a checksum of them.
   *
   * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID where they are not what they were
   */
  readonly check?: () => Promise<void>
}

/** A checkpoint whose bytes can be had as they are. */
export interface StoredCheckpoint extends Checkpoint {
  /** Undefined where there is more to a tensor than its bytes in a file; then `read` says what. */
  stored(name: string): StoredTensor | undefined
  /**
   * Several small tensors as {@link Checkpoint.read} returns them, in fewer readings. Whether the file has changed may not have been
   * looked at: see {@link checkUnchanged}.
   */
  readTogether?(names: readonly string[]): Promise<Float32Array[]>
  /** @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID where a file was changed since it was opened */
  checkUnchanged(): Promise<void>
}

export function isStored(file: Checkpoint): file is StoredCheckpoint {
  return 'stored' in file
}

/** What a source reads from. */
export interface StoredTensors {
  readonly file: StoredCheckpoint
  /** The name in the file of a tensor that is just what the file has; undefined for others. */
  readonly nameOf: (name: string) => string | undefined
}

/** By the source made of it. A source made of such a one, with a `read` of its own, is another object and not in here. */
const stored = new WeakMap<WeightSource, StoredTensors>()

/** Remembers that `source` does nothing but read what `tensors` has a name for. */
export function keepStored(source: WeightSource, tensors: StoredTensors): void {
  stored.set(source, tensors)
}

export function storedOf(source: WeightSource): StoredTensors | undefined {
  return stored.get(source)
}
