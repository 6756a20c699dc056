// Tensors that the addon can read from their file itself, exactly as they are stored.
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import type { WeightSource } from './source.ts'

/** The dimension order of weights: PyTorch's, `[K,C,R,S]`, or Keras', `[R,S,C,K]`, which for a matrix is `[C,K]`. */
export type WeightLayout = 'KCRS' | 'RSCK'

/** The file that a source reads its tensors from. */
export interface StoredTensors {
  readonly file: Checkpoint
  /** The tensor in the file that equals the one named, in some layout; undefined if it is not stored as such. */
  readonly locate: (name: string) => { readonly name: string; readonly layout: WeightLayout } | undefined
}

/** By source. A wrapper around a source, with a `read` of its own, is another object and so not in here. */
const stored = new WeakMap<WeightSource, StoredTensors>()

/** Records that `source` only reads what `tensors` locates. */
export function keepStored(source: WeightSource, tensors: StoredTensors): void {
  stored.set(source, tensors)
}

export function storedOf(source: WeightSource): StoredTensors | undefined {
  return stored.get(source)
}
