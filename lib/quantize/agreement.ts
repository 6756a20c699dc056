// How the answers of two versions of a network compare, image by image.
import { median } from '../base/statistics.ts'

/** The class with the largest logit; with a single one, whether it is above 0. */
export function topOf(logits: Float32Array): number {
  if (logits.length === 1) return logits[0]! > 0 ? 1 : 0
  let top = 0
  for (let k = 1; k < logits.length; k++) if (logits[k]! > logits[top]!) top = k
  return top
}

/** The share of the images that both give the same class. */
export function agreementOf(reference: readonly Float32Array[], tried: readonly Float32Array[]): number {
  const same = reference.filter((logits, i) => topOf(logits) === topOf(tried[i]!))
  return same.length / reference.length
}

/**
 * How far the logits are from those of the reference, mostly in images whose two largest logits are close: what changes classes,
 * and smoother than the number of classes that change, of which there are few.
 */
export function closeError(reference: readonly Float32Array[], tried: readonly Float32Array[]): number {
  const margins = reference.map(marginOf)
  const usual = median(margins) || 1
  let [sum, weights] = [0, 0]
  for (const [i, logits] of reference.entries()) {
    const weight = Math.exp((-2 * margins[i]!) / usual)
    sum += weight * errorOf(logits, tried[i]!)
    weights += weight
  }
  return sum / weights
}

/** The root of the mean square of the errors, what all share taken off. */
function errorOf(reference: Float32Array, tried: Float32Array): number {
  const errors = Float64Array.from(reference, (x, k) => tried[k]! - x)
  const shared = reference.length === 1 ? 0 : errors.reduce((a, b) => a + b, 0) / errors.length
  return Math.sqrt(errors.reduce((sum, e) => sum + (e - shared) ** 2, 0) / errors.length)
}

/** From the largest logit to the next. */
function marginOf(logits: Float32Array): number {
  if (logits.length === 1) return Math.abs(logits[0]!)
  let [first, second] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const x of logits) {
    if (x > first) [first, second] = [x, first]
    else if (x > second) second = x
  }
  return first - second
}

/** What became of the images of one class. */
export interface ClassResult {
  readonly index: number
  readonly images: number
  /** How many of them are right in float32, and quantized. */
  readonly rightBefore: number
  readonly rightAfter: number
  /** How many are given the same class by both. */
  readonly same: number
}

/** By class of the images' `labels`, those that have any, in order. */
export function classResults(
  labels: readonly (number | undefined)[],
  reference: readonly Float32Array[],
  tried: readonly Float32Array[],
): ClassResult[] {
  const byClass = new Map<number, { images: number; rightBefore: number; rightAfter: number; same: number }>()
  for (const [i, label] of labels.entries()) {
    if (label === undefined) continue
    const its = byClass.get(label) ?? { images: 0, rightBefore: 0, rightAfter: 0, same: 0 }
    const [before, after] = [topOf(reference[i]!), topOf(tried[i]!)]
    its.images++
    if (before === label) its.rightBefore++
    if (after === label) its.rightAfter++
    if (before === after) its.same++
    byClass.set(label, its)
  }
  return [...byClass].sort(([a], [b]) => a - b).map(([index, its]) => ({ index, ...its }))
}
