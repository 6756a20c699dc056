// Tensors that the addon can read from their file itself, exactly as they are stored.
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import type { WeightSource } from './source.ts'

/** In which order weights lie: PyTorch's, `[K,C,R,S]`, or that of Keras, `[R,S,C,K]`, which for a matrix is `[C,K]`. */
export type WeightLayout = 'KCRS' | 'RSCK'

/** What a source makes its tensors of. */
export interface StoredTensors {
  readonly file: Checkpoint
  /** The tensor of the file that is, in some layout, just that of the name; undefined for others. */
  readonly locate: (name: string) => { readonly name: string; readonly layout: WeightLayout } | undefined
}

/** By the source made of it. A source made of such a one, with a `read` of its own, is another object and not in here. */
const stored = new WeakMap<WeightSource, StoredTensors>()

/** Remembers that `source` does nothing but read what `tensors` locates. */
export function keepStored(source: WeightSource, tensors: StoredTensors): void {
  stored.set(source, tensors)
}

export function storedOf(source: WeightSource): StoredTensors | undefined {
  return stored.get(source)
}
