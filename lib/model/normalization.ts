// Mean and standard deviation for input normalisation, and their valid range.
import { outOfRange, wrongType } from '../errors.ts'

/** In units of byte / 255. Beyond these limits nobody means it, and at some point float32 ends. `core::kLeastStd` and so on are their twins. */
export const leastStd = 1e-6
export const mostStd = 1e6
export const mostMean = 1e6

/**
 * Copies of both, checked.
 *
 * @throws TypeError, RangeError where one is not so many numbers within the limits
 */
export function checkNormalization(
  mean: readonly number[],
  std: readonly number[],
  channels: number,
): { readonly mean: readonly number[]; readonly std: readonly number[] } {
  return {
    mean: checked(mean, 'mean', channels, -mostMean, mostMean),
    std: checked(std, 'std', channels, leastStd, mostStd),
  }
}

function checked(
  values: readonly number[],
  name: string,
  count: number,
  least: number,
  most: number,
): readonly number[] {
  if (!Array.isArray(values)) throw wrongType('an array of numbers', name, values)
  if (values.length !== count) throw outOfRange(`${count} numbers`, name, values.length)
  const copy = [...values]
  for (const value of copy) {
    if (typeof value !== 'number') throw wrongType('numbers', name, value)
    if (!(value >= least && value <= most)) throw outOfRange(`numbers from ${least} to ${most}`, name, value)
  }
  return copy
}
