import { describe, expect, it } from 'vitest'
import { type BatchNormTensors, foldBatchNorm, scaleChannels } from '../../lib/weights/fold.ts'
import { seeded } from '../support/files.ts'

const one: BatchNormTensors = {
  weight: new Float32Array([1]),
  bias: new Float32Array([0]),
  mean: new Float32Array([0]),
  variance: new Float32Array([1]),
  epsilon: 0,
}
const numbers = (length: number, value: () => number) => Float32Array.from({ length }, value)

describe('foldBatchNorm', () => {
  it('gives a factor and a bias per channel, and leaves its arguments as they are', () => {
    const random = seeded(5)
    const bn = {
      weight: numbers(9, () => random() - 0.5),
      bias: numbers(9, () => random() - 0.5),
      mean: numbers(9, () => random() - 0.5),
      variance: numbers(9, () => 0.1 + random()),
      epsilon: 1e-3,
    }
    const before = structuredClone(bn)
    const { scale, bias } = foldBatchNorm(9, bn)
    expect([scale.length, bias.length]).toEqual([9, 9])
    for (let k = 0; k < 9; k++) {
      const deviation = (bn.variance[k]! + bn.epsilon) ** 0.5
      expect(scale[k]).toBeCloseTo(bn.weight[k]! / deviation, 12)
      expect(bias[k]).toBeCloseTo(bn.bias[k]! - (bn.mean[k]! / deviation) * bn.weight[k]!, 6)
    }
    expect(bn).toEqual(before)
  })

  it('multiplies by 1 and adds 0 where there is no batch norm', () => {
    expect(foldBatchNorm(2, null)).toEqual({ scale: new Float64Array([1, 1]), bias: new Float32Array(2) })
  })

  it('computes in float64 and rounds once', () => {
    // What is left of a bias that all but cancels is lost in float32.
    const bn = {
      ...one,
      bias: new Float32Array([12345 / Math.SQRT2]),
      mean: new Float32Array([12345]),
      variance: new Float32Array([2]),
    }
    const rest = bn.bias[0]! - 12345 / Math.sqrt(2)
    expect(rest).not.toBe(0)
    const { scale, bias } = foldBatchNorm(1, bn)
    expect(bias[0]).toBeCloseTo(rest, 9)
    const weight = numbers(1000, seeded(2))
    const scaled = scaleChannels(weight, scale)
    expect(scaled).toEqual(weight.map(w => w * Math.SQRT1_2))
    expect(scaled).not.toEqual(weight.map(w => w * Math.fround(Math.SQRT1_2)))
  })

  it.each([
    ['a variance below 0', { variance: new Float32Array([-1]) }, 'its variance is -1'],
    ['a variance of 0 and no epsilon', { variance: new Float32Array([0]) }, 'its variance is 0'],
    ['a variance of NaN', { variance: new Float32Array([Number.NaN]) }, 'its variance is NaN'],
    ['an infinite mean', { mean: new Float32Array([Number.NEGATIVE_INFINITY]) }, 'channel 0'],
    ['a bias beyond float32', { mean: new Float32Array([3e38]), weight: new Float32Array([2]) }, 'channel 0'],
  ])('refuses %s', (_, changes, message) => {
    const folding = () => foldBatchNorm(1, { ...one, ...changes })
    expect(folding).toThrow(expect.objectContaining({ code: 'NON_FINITE' }))
    expect(folding).toThrow(message)
  })

  it('names the channel that fails', () => {
    const bn = {
      weight: new Float32Array([1, 1, 1]),
      bias: new Float32Array(3),
      mean: new Float32Array(3),
      variance: new Float32Array([1, 1, -2]),
      epsilon: 1e-5,
    }
    expect(() => foldBatchNorm(3, bn)).toThrow(/channel 2 .* variance is -2/)
  })
})

describe('scaleChannels', () => {
  it('multiplies each channel by its own factor, in an array of its own', () => {
    const weight = new Float32Array([1, 2, 3, 4, 5, 6])
    expect(scaleChannels(weight, new Float64Array([10, -1]))).toEqual(
      new Float32Array([10, 20, 30, -4, -5, -6]),
    )
    expect(weight).toEqual(new Float32Array([1, 2, 3, 4, 5, 6]))
  })

  it.each([
    ['not finite', [1, Number.NaN], [1, 1], 'channel 1 becomes NaN'],
    ['beyond float32', [1, 3e38], [1, -2], 'channel 1 becomes -Infinity'],
  ])('refuses weights that are %s', (_, weight, scale, message) => {
    const scaling = () => scaleChannels(new Float32Array(weight), new Float64Array(scale))
    expect(scaling).toThrow(expect.objectContaining({ code: 'NON_FINITE' }))
    expect(scaling).toThrow(message)
  })
})
