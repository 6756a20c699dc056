// How long a batch takes before and after, measured in turn on this machine.
import { median } from '../base/statistics.ts'
import { elements, inputShape, type Plan } from '../model/plan.ts'
import { bytesOfImage, type Pixels } from './images.ts'
import { joined, type Trial } from './trial.ts'

/** Medians, in milliseconds for a batch. */
export interface Speed {
  readonly batch: number
  readonly before: number
  readonly after: number
}

const rounds = 9

/** `images`: as many as the largest batch, or fewer, which are then repeated. */
export async function speedOf(
  plan: Plan,
  reference: Trial,
  tried: Trial,
  images: readonly Pixels[],
  batches: readonly number[],
  onBatch: () => void,
): Promise<Speed[]> {
  const results: Speed[] = []
  const bytes = await Promise.all(images.map(bytesOfImage))
  for (const batch of batches) {
    const some = Array.from({ length: batch }, (_, i) => bytes[i % bytes.length]!)
    const input = joined(some, elements(inputShape(plan)))
    const [before, after]: [number[], number[]] = [[], []]
    for (let round = -1; round < rounds; round++) {
      const times = [await reference.time(input), await tried.time(input)] as const
      if (round < 0) continue // memory is allocated and caches are cold
      before.push(times[0])
      after.push(times[1])
    }
    onBatch()
    results.push({ batch, before: median(before), after: median(after) })
  }
  return results
}
