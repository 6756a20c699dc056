// Weights in Keras' layout, RSCK.
import type { Checkpoint, WeightSource } from '../../lib/index.ts'
import { keepStored } from '../../lib/weights/stored-source.ts'

/** `[K,C,R,S]` to `[R,S,C,K]`, or `[K,C]` to `[C,K]`. */
export function toRSCK<T>(shape: readonly number[], numbers: ArrayLike<T>): T[] {
  const [outputs, inputs, ...window] = shape as [number, number, ...number[]]
  const taps = window.reduce((a, b) => a * b, 1)
  const result: T[] = new Array(numbers.length)
  for (let k = 0; k < outputs; k++)
    for (let c = 0; c < inputs; c++)
      for (let tap = 0; tap < taps; tap++)
        result[(tap * inputs + c) * outputs + k] = numbers[(k * inputs + c) * taps + tap]!
  return result
}

/** The same weights, from what looks like a file that stores them as RSCK. */
export function weightsInRSCK(weights: WeightSource): WeightSource {
  const isRSCK = (name: string) => (weights.shape(name)?.length ?? 0) > 1
  const file = {
    tensors: new Map([...weights.names()].map(name => [name, {}])) as unknown as Checkpoint['tensors'],
    read: async (name: string) => {
      const numbers = await weights.read(name)
      return isRSCK(name) ? Float32Array.from(toRSCK(weights.shape(name)!, numbers)) : numbers
    },
  } as Checkpoint
  const source = { ...weights }
  keepStored(source, { file, locate: name => ({ name, layout: isRSCK(name) ? 'RSCK' : 'KCRS' }) })
  return source
}
