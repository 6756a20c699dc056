// The signal-to-noise ratio of every operation: how far its results are from those in float32.
import { Pauses } from '../base/pauses.ts'
import { operandsOf, rowOf } from '../model/ops.ts'
import type { Plan } from '../model/plan.ts'
import type { Pixels } from './images.ts'
import type { Trial } from './trial.ts'

/** One operation's. */
export interface OpNoise {
  readonly name: string
  /** Of its results, in decibels; infinite if they are equal. */
  readonly decibels: number
}

/** Of the operations with weights of `plan`, from both versions' results for the same images. */
export async function noiseOf(
  plan: Plan,
  reference: Trial,
  tried: Trial,
  images: readonly Pixels[],
  onImage: () => void,
): Promise<OpNoise[]> {
  const names = plan.ops.filter(op => rowOf(op).weighted && operandsOf(op).length > 0).map(({ name }) => name)
  const sums = new Map(names.map(name => [name, { signal: 0, noise: 0 }]))
  const pauses = new Pauses()
  for (const image of images) {
    await reference.capture(image)
    await tried.capture(image)
    for (const [name, sum] of sums) {
      add(sum, reference.resultOf(name), tried.resultOf(name))
      await pauses.take()
    }
    onImage()
  }
  return [...sums].map(([name, { signal, noise }]) => ({
    name,
    decibels: noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise),
  }))
}

function add(sum: { signal: number; noise: number }, before: Float32Array, after: Float32Array): void {
  let [signal, noise] = [0, 0]
  for (let i = 0; i < before.length; i++) {
    const [x, difference] = [before[i]!, after[i]! - before[i]!]
    signal += x * x
    noise += difference * difference
  }
  sum.signal += signal
  sum.noise += noise
}
