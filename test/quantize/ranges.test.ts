import { describe, expect, it } from 'vitest'
import { chooseRange, rangeMethods, squaredError } from '../../lib/quantize/ranges.ts'
import { roundWeights, roundWithBias } from '../../lib/quantize/round-weights.ts'
import {
  nearestIntegers,
  type QuantizedTensor,
  scaleIntegers,
} from '../../lib/weights/tensors/quantized-tensor.ts'
import { seeded } from '../support/files.ts'

/** The histogram of a density of magnitudes up to `largest`. */
function histogram(density: (x: number) => number, largest: number) {
  const binWidth = (largest / 4096) * 1.0001
  const bins = Float64Array.from({ length: 4096 }, (_, i) =>
    Math.round(1e9 * density((i + 0.5) * binWidth) * binWidth),
  )
  return { bins, binWidth }
}

const normal = (x: number) => Math.sqrt(2 / Math.PI) * Math.exp((-x * x) / 2)
const laplace = (x: number) => Math.exp(-x)

function normalNumbers(length: number, seed: number): Float32Array {
  const random = seeded(seed)
  return Float32Array.from(
    { length },
    () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  )
}

describe('a range', () => {
  it('of least squared error is the known one of normal and Laplace numbers', async () => {
    // Banner et al., https://arxiv.org/abs/1810.05723: 3.92 standard deviations and 9.89 scales for 8 bits, a sign among them.
    expect(Math.abs((await chooseRange(histogram(normal, 6), 6, 127, 'squared-error')) - 3.92)).toBeLessThan(
      0.2,
    )
    expect(
      Math.abs((await chooseRange(histogram(laplace, 20), 20, 127, 'squared-error')) - 9.89),
    ).toBeLessThan(0.5)
  })

  it('of least squared error has no better neighbours', async () => {
    const seen = histogram(laplace, 20)
    const range = await chooseRange(seen, 20, 255, 'squared-error')
    for (const factor of [0.8, 0.95, 1.05, 1.2])
      expect(squaredError(seen, range * factor, 255)).toBeGreaterThan(squaredError(seen, range, 255))
  })

  it('holds a given share of the numbers', async () => {
    const range = await chooseRange(histogram(normal, 8), 8, 127, 'percentile')
    expect(range).toBeCloseTo(3.89, 1) // 0.01 % of normal numbers are farther from 0
  })

  it('of least divergence passes over outliers, and not over much else', async () => {
    const seen = histogram(normal, 50)
    seen.bins[4095]! = 20
    const range = await chooseRange(seen, 50, 127, 'entropy')
    expect(range).toBeGreaterThan(2.5)
    expect(range).toBeLessThan(7)
    expect(await chooseRange(seen, 50, 127, 'max')).toBe(50)
  })

  it.each(rangeMethods)('by %s of numbers that are spread evenly is about all of them', async method => {
    expect(
      await chooseRange(
        histogram(() => 1 / 3, 3),
        3,
        255,
        method,
      ),
    ).toBeGreaterThan(2.9)
  })

  it.each(rangeMethods)('by %s of zeros is 0, and of one number that number', async method => {
    const bins = new Float64Array(4096)
    bins[0] = 100
    expect(await chooseRange({ bins, binWidth: 0 }, 0, 127, method)).toBe(0)
    bins[3276] = 5
    const range = await chooseRange({ bins, binWidth: 1.25 / 4096 }, 1, 127, method)
    expect(range).toBeGreaterThan(0.95)
    expect(range).toBeLessThanOrEqual(1)
  })
})

describe('rounded weights', () => {
  const channels = 8
  const weight = normalNumbers(channels * 900, 3)
  const errorOf = (tensor: QuantizedTensor) => {
    const back = new Float32Array(weight.length)
    scaleIntegers(tensor, back)
    return back.reduce((sum, w, i) => sum + (w - weight[i]!) ** 2, 0)
  }

  it('have a smaller squared error than the nearest integers without clipping', async () => {
    const rounded = await roundWeights(weight, channels)
    expect(errorOf(rounded)).toBeLessThan(errorOf(nearestIntegers(weight, channels)))
    expect(Math.max(...rounded.integers)).toBe(127)
    expect(Math.min(...rounded.integers)).toBeGreaterThanOrEqual(-127)
  })

  it('are not clipped where they are spread evenly, and 0 where all are', async () => {
    const even = Float32Array.from({ length: 254 }, (_, i) => (i < 127 ? i - 127 : i - 126) / 10)
    const rounded = await roundWeights(Float32Array.from([...even, ...new Float32Array(254)]), 2)
    expect(rounded.scales[0]).toBeCloseTo(0.1, 6)
    expect(rounded.integers[0]).toBe(-127)
    expect(rounded.scales[1]).toBe(1)
    expect(rounded.integers.subarray(254)).toEqual(new Int8Array(254))
  })

  it('have scales with which sums can start from any bias', async () => {
    const small = Float32Array.of(1e-9, -2e-9, 0.5, 0.25)
    const bias = Float32Array.of(3, 3)
    const given = await roundWeights(small, 2)
    const { integers, scales } = roundWithBias(small, given, bias, 0.01)
    expect(3 / (0.01 * given.scales[0]!)).toBeGreaterThan(2 ** 30)
    expect(3 / (0.01 * scales[0]!)).toBeLessThan(2 ** 30)
    expect([...integers.subarray(0, 2)]).toEqual([0, 0])
    expect(scales[1]).toBe(given.scales[1])
    expect(integers.subarray(2)).toEqual(given.integers.subarray(2))
    expect(roundWithBias(small, given, Float32Array.of(0, 1), 0.01)).toEqual(given)
  })
})
