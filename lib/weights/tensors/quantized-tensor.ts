// Tensors of 8-bit integers: those of each channel, along the first dimension, stand for that many times the channel's scale.
import { ResidualError } from '../../errors.ts'

export interface QuantizedTensor {
  /** Row-major, from -127 to 127. */
  readonly integers: Int8Array
  /** One per channel, positive. */
  readonly scales: Float32Array
}

const least = -127 // so that every integer has its opposite

/** The name of the tensor with the scales of the one called `name`. */
export const scaleName = (name: string) => `${name}_scale`

/**
 * Returns the scales of the tensor called `name`.
 *
 * @throws ResidualError CHECKPOINT_INVALID unless all are positive numbers
 */
export function checkScales(name: string, scales: Float32Array, path: string): Float32Array {
  const bad = scales.findIndex(scale => !(scale > 0 && Number.isFinite(scale)))
  if (bad < 0) return scales
  throw invalid(
    `'${scaleName(name)}' in ${path} is ${scales[bad]} at index ${bad}, which is not a positive number`,
  )
}

/**
 * Returns `integers`.
 *
 * @throws ResidualError CHECKPOINT_INVALID for one of -128
 */
export function checkIntegers(name: string, integers: Int8Array, path: string): Int8Array {
  const bad = integers.indexOf(least - 1)
  if (bad < 0) return integers
  throw invalid(`'${name}' in ${path} is ${integers[bad]} at index ${bad}, outside -127 to 127`)
}

const invalid = (problem: string) => new ResidualError('CHECKPOINT_INVALID', `${problem}.`)

/** Writes the numbers that the integers stand for, rounded to float32, to `target`, which is as long. */
export function scaleIntegers({ integers, scales }: QuantizedTensor, target: Float32Array): void {
  const perChannel = integers.length / scales.length
  let i = 0
  for (const scale of scales) for (const end = i + perChannel; i < end; i++) target[i] = integers[i]! * scale
}

/**
 * The integers nearest to `weight`, with the least scales that give no channel, of `weight.length / channels` numbers each, one
 * outside -127 to 127, and that are not below those of `leastScales`, one per channel.
 */
export function nearestIntegers(
  weight: Float32Array,
  channels: number,
  leastScales?: readonly number[],
): QuantizedTensor {
  const [integers, scales] = [new Int8Array(weight.length), new Float32Array(channels)]
  const perChannel = weight.length / channels
  for (let k = 0; k < channels; k++) {
    const numbers = weight.subarray(k * perChannel, (k + 1) * perChannel)
    const largest = numbers.reduce((most, number) => Math.max(most, Math.abs(number)), 0)
    const scale = Math.fround(Math.max(largest / -least, leastScales?.[k] ?? 0)) || 1 // any, if all are 0 or come close to it
    scales[k] = scale
    for (let i = 0; i < perChannel; i++) integers[k * perChannel + i] = nearest(numbers[i]! / scale)
  }
  return { integers, scales }
}

/** The nearest integer from -127 to 127, of two the even one. */
function nearest(x: number): number {
  const rounded = Math.round(x) // of two the larger one
  const even = rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded
  return Math.max(least, Math.min(-least, even))
}
