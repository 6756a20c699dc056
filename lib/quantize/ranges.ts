// The range of the numbers that 8 bits represent, chosen from a histogram of the magnitudes that were seen.
import { Pauses } from '../base/pauses.ts'
import type { Observation } from '../runtime/native.ts'

/**
 * How the range of a value is chosen: by the least squared error, so that a given share of the numbers lies within it, by the
 * least Kullback-Leibler divergence, or as large as the largest number that was seen.
 */
export const rangeMethods = ['squared-error', 'percentile', 'entropy', 'max'] as const
export type RangeMethod = (typeof rangeMethods)[number]

/** What to choose ranges by, or `auto`: whichever of the methods comes closest to float32 with the images that calibrate it. */
export const rangeChoices = ['auto', ...rangeMethods] as const
export type RangeChoice = (typeof rangeChoices)[number]

/** A histogram of magnitudes: `bins[i]` counts those in `[i, i + 1) * binWidth`. */
export type Magnitudes = Pick<Observation, 'bins' | 'binWidth'>

/** The share of the numbers within the range of `percentile`. */
const percentile = 0.9999

/** Candidates for a range, from this share of the largest number up. */
const leastShare = 0.02
const candidates = 200

/**
 * The largest magnitude to represent by `steps` steps from 0; 0 if all numbers are 0.
 *
 * @param largest of the magnitudes, which the last filled bin reaches beyond
 */
export async function chooseRange(
  seen: Magnitudes,
  largest: number,
  steps: number,
  method: RangeMethod,
  pauses = new Pauses(),
): Promise<number> {
  if (!(largest > 0)) return 0
  switch (method) {
    case 'max':
      return largest
    case 'percentile':
      return Math.min(percentileOf(seen, percentile), largest)
    case 'squared-error':
      return leastOf(largest, pauses, range => squaredError(seen, range, steps))
    case 'entropy':
      return leastOf(largest, pauses, range => divergence(seen, range, steps))
  }
}

/** The candidate with the least `loss`; of equals the largest. */
async function leastOf(largest: number, pauses: Pauses, loss: (range: number) => number): Promise<number> {
  let best = { range: largest, loss: loss(largest) }
  for (let i = candidates - 1; i > 0; i--) {
    const range = largest * (leastShare + (1 - leastShare) * (i / candidates))
    const its = loss(range)
    if (its < best.loss) best = { range, loss: its }
    await pauses.take()
  }
  return best.range
}

/** The upper edge of the bin that the given share of the numbers lies up to. */
function percentileOf({ bins, binWidth }: Magnitudes, share: number): number {
  const due = share * bins.reduce((sum, n) => sum + n, 0)
  let count = 0
  for (let i = 0; i < bins.length; i++) {
    count += bins[i]!
    if (count >= due) return (i + 1) * binWidth
  }
  return bins.length * binWidth
}

/** The sum of the squared differences between the magnitudes, as if each were in the middle of its bin, and the nearest steps. */
export function squaredError({ bins, binWidth }: Magnitudes, range: number, steps: number): number {
  const step = range / steps
  let sum = 0
  for (let i = 0; i < bins.length; i++) {
    if (bins[i] === 0) continue
    const magnitude = (i + 0.5) * binWidth
    const difference = Math.min(Math.round(magnitude / step), steps) * step - magnitude
    sum += bins[i]! * difference * difference
  }
  return sum
}

/**
 * The Kullback-Leibler divergence of the numbers after rounding from the numbers before: those beyond the range count as its end
 * before, and are missing after; after, the numbers of a step spread evenly over its bins that are not empty. (Migacz, "8-bit
 * inference with TensorRT", 2017.) The first bin is left out: zeros are exact.
 */
function divergence({ bins, binWidth }: Magnitudes, range: number, steps: number): number {
  const end = Math.min(Math.max(Math.round(range / binWidth), 2), bins.length)
  let beyond = 0
  for (let i = end; i < bins.length; i++) beyond += bins[i]!
  const [counts, filled] = [new Float64Array(steps), new Float64Array(steps)]
  const stepOf = (i: number) => Math.floor((i * steps) / end)
  let within = 0
  for (let i = 1; i < end; i++) {
    counts[stepOf(i)]! += bins[i]!
    if (bins[i]! > 0) filled[stepOf(i)]!++
    within += bins[i]!
  }
  if (within === 0) return Number.POSITIVE_INFINITY
  let sum = 0
  for (let i = 1; i < end; i++) {
    const before = (bins[i]! + (i === end - 1 ? beyond : 0)) / (within + beyond)
    if (before === 0) continue
    const step = stepOf(i)
    const after = bins[i]! > 0 ? counts[step]! / filled[step]! / within : 0
    sum += before * Math.log(before / Math.max(after, 1e-12))
  }
  return sum
}
