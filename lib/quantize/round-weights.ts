// Weights as integers from -127 to 127, with a scale for each output channel.
import { Pauses } from '../base/pauses.ts'
import type { QuantizedTensor } from '../weights/tensors/quantized-tensor.ts'

/** Candidates for a scale: shares of the least that clips nothing, in coarse steps and then in fine ones around the best. */
const leastShare = 0.7
const [coarse, fine] = [0.05, 0.01]

/**
 * Rounds `weight`, `[K,...]`, to integers. The largest weights of a channel are clipped where that makes the sum of its squared
 * errors less.
 */
export async function roundWeights(
  weight: Float32Array,
  channels: number,
  pauses = new Pauses(),
): Promise<QuantizedTensor> {
  const [integers, scales] = [new Int8Array(weight.length), new Float32Array(channels)]
  const each = weight.length / channels
  for (let k = 0; k < channels; k++) {
    const row = weight.subarray(k * each, (k + 1) * each)
    scales[k] = bestScale(row)
    round(row, scales[k]!, integers.subarray(k * each, (k + 1) * each))
    await pauses.take()
  }
  return { integers, scales }
}

/** Half of what the addon clamps the start of a sum to, an integer of 32 bits. */
const mostStart = 2 ** 29

/**
 * The same, with scales so large that each bias, as a number of products, is one that a sum can start from: in a channel whose
 * weights are next to nothing it would not be.
 *
 * @param sourceScale of the values that are multiplied
 */
export function roundWithBias(
  weight: Float32Array,
  { integers, scales }: QuantizedTensor,
  bias: Float32Array,
  sourceScale: number,
): QuantizedTensor {
  const least = bias.map(b => Math.abs(b) / (sourceScale * mostStart))
  if (scales.every((scale, k) => scale >= least[k]!)) return { integers, scales }
  const each = weight.length / bias.length
  const raised = scales.map((scale, k) => Math.max(scale, least[k]!))
  const again = integers.slice()
  for (const [k, scale] of raised.entries())
    if (scale !== scales[k])
      round(weight.subarray(k * each, (k + 1) * each), scale, again.subarray(k * each, (k + 1) * each))
  return { integers: again, scales: raised }
}

/** The scale with the least squared error: the least that clips nothing, or one that clips. */
function bestScale(row: Float32Array): number {
  let largest = 0
  for (let i = 0; i < row.length; i++) largest = Math.max(largest, Math.abs(row[i]!))
  const whole = Math.fround(largest / most) || 1 // any, if all are 0 or come close to it
  const tried = (share: number) => {
    const scale = Math.fround(whole * share)
    return { share, scale, error: squaredErrorOf(row, scale) }
  }
  let best = tried(1)
  const tryShares = (from: number, to: number, step: number) => {
    for (let share = from; share > to - step / 2; share -= step) {
      const its = tried(share)
      if (its.error < best.error) best = its
    }
  }
  tryShares(1 - coarse, leastShare, coarse)
  const { share } = best
  tryShares(Math.min(share + coarse - fine, 1), share - coarse + fine, fine)
  return best.scale
}

function squaredErrorOf(row: Float32Array, scale: number): number {
  let sum = 0
  for (let i = 0; i < row.length; i++) {
    const difference = nearest(row[i]! / scale) * scale - row[i]!
    sum += difference * difference
  }
  return sum
}

function round(row: Float32Array, scale: number, integers: Int8Array): void {
  for (let i = 0; i < row.length; i++) integers[i] = nearest(row[i]! / scale)
}

const most = 127

/** The nearest integer from -127 to 127, of two the even one: adding 1.5 * 2^52 leaves no bits for a fraction. */
function nearest(x: number): number {
  const noFraction = 1.5 * 2 ** 52
  return Math.min(Math.max(x + noFraction - noFraction, -most), most)
}
