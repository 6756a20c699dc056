import { describe, expect, it } from 'vitest'
import { type BatchNormTensors, foldBatchNorm } from '../../lib/weights/fold.ts'
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
  it.each([
    [5, 3, 2, 4],
    [4, 1, 3, 3],
    [3, 7, 1, 1],
    [1, 2, 5, 1],
  ] as const)('gives what float64 loops give for %i channels of %ix%ix%i', (K, C, R, S) => {
    const random = seeded(K)
    const weight = numbers(K * C * R * S, () => random() - 0.5)
    const bn = {
      weight: numbers(K, () => random() - 0.5),
      bias: numbers(K, () => random() - 0.5),
      mean: numbers(K, () => random() - 0.5),
      variance: numbers(K, () => 0.1 + random()),
      epsilon: 1e-3,
    }
    const before = { weight: weight.slice(), bn: structuredClone(bn) }
    const folded = foldBatchNorm(weight, [K, C, R, S], bn)
    expect(folded.weight).toHaveLength(weight.length)
    expect(folded.bias).toHaveLength(K)
    for (let k = 0; k < K; k++) {
      const deviation = (bn.variance[k]! + bn.epsilon) ** 0.5
      expect(folded.bias[k]).toBeCloseTo(bn.bias[k]! - (bn.mean[k]! / deviation) * bn.weight[k]!, 6)
      for (let c = 0; c < C; c++) {
        for (let r = 0; r < R; r++) {
          for (let s = 0; s < S; s++) {
            const original = weight[((k * C + c) * R + r) * S + s]!
            const expected = (original * bn.weight[k]!) / deviation
            expect(folded.weight[((k * R + r) * S + s) * C + c]).toBeCloseTo(expected, 6)
          }
        }
      }
    }
    expect({ weight, bn }).toEqual(before)
  })

  it('turns the weight, in an array of its own, and makes a bias of 0 where there is no batch norm', () => {
    // Two inputs of 1x3: C and S change places.
    const weight = new Float32Array([1, 2, 3, 4, 5, 6])
    const folded = foldBatchNorm(weight, [1, 2, 1, 3], null)
    expect(folded).toEqual({ weight: new Float32Array([1, 4, 2, 5, 3, 6]), bias: new Float32Array([0]) })
    const same = foldBatchNorm(weight, [6, 1, 1, 1], null).weight
    expect(same).toEqual(weight)
    expect(same).not.toBe(weight)
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
    const random = seeded(2)
    const weight = numbers(1000, random)
    const folded = foldBatchNorm(weight, [1, 1000, 1, 1], bn)
    expect(folded.bias[0]).toBeCloseTo(rest, 9)
    expect(folded.weight).toEqual(weight.map(w => w * Math.SQRT1_2))
    expect(folded.weight).not.toEqual(weight.map(w => w * Math.fround(Math.SQRT1_2)))
  })

  it.each([
    ['a variance below 0', { variance: new Float32Array([-1]) }, 'its variance is -1'],
    ['a variance of 0 and no epsilon', { variance: new Float32Array([0]) }, 'its variance is 0'],
    ['a variance of NaN', { variance: new Float32Array([Number.NaN]) }, 'its variance is NaN'],
    ['an infinite mean', { mean: new Float32Array([Number.NEGATIVE_INFINITY]) }, 'channel 0'],
    ['a bias beyond float32', { mean: new Float32Array([3e38]), weight: new Float32Array([2]) }, 'channel 0'],
    ['weights beyond float32', { weight: new Float32Array([3e38]) }, 'channel 0'],
  ])('refuses %s', (_, changes, message) => {
    const folding = () => foldBatchNorm(new Float32Array([0, 2]), [1, 2, 1, 1], { ...one, ...changes })
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
    expect(() => foldBatchNorm(new Float32Array(3), [3, 1, 1, 1], bn)).toThrow(/channel 2 .* variance is -2/)
  })

  it('refuses weights that are not finite where there is no batch norm', () => {
    const weight = new Float32Array([1, Number.NaN])
    expect(() => foldBatchNorm(weight, [2, 1, 1, 1], null)).toThrow(
      expect.objectContaining({ code: 'NON_FINITE', message: expect.stringContaining('channel 1') }),
    )
  })
})
