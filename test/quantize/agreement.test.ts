import { describe, expect, it } from 'vitest'
import { agreementOf, classResults, closeError, topOf } from '../../lib/quantize/agreement.ts'

const logits = (...rows: number[][]) => rows.map(row => Float32Array.from(row))

describe('agreement', () => {
  it('is the share of the images with the same class', () => {
    const before = logits([1, 2, 3], [3, 1, 2], [0, 5, 1], [1, 0, 0])
    const after = logits([1, 2, 9], [1, 2, 3], [0, 5, 1], [2, 0, 0])
    expect(after.map(topOf)).toEqual([2, 2, 1, 0])
    expect(agreementOf(before, after)).toBe(0.75)
    expect(agreementOf(before, before)).toBe(1)
  })

  it('of a single logit is that of its sign', () => {
    expect(agreementOf(logits([0.5], [-0.5]), logits([0.1], [0.2]))).toBe(0.5)
  })

  it('is told by class, of images that have one', () => {
    const before = logits([1, 0], [1, 0], [0, 1], [0, 1])
    const after = logits([1, 0], [0, 1], [0, 1], [1, 0])
    expect(classResults([0, 0, 1, undefined], before, after)).toEqual([
      { index: 0, images: 2, rightBefore: 2, rightAfter: 1, same: 1 },
      { index: 1, images: 1, rightBefore: 1, rightAfter: 1, same: 1 },
    ])
    expect(classResults([undefined], before.slice(0, 1), after.slice(0, 1))).toEqual([])
  })
})

describe('the error of close images', () => {
  const before = logits([10, 0, 0], [1, 0.9, 0], [5, 0, 0])

  it('is 0 for equal logits and for those that are all shifted', () => {
    expect(closeError(before, before)).toBe(0)
    const shifted = before.map(row => row.map(x => x + 1))
    expect(closeError(before, shifted)).toBeLessThan(1e-6)
  })

  it('counts errors more where the two largest logits are close', () => {
    const withError = (image: number) =>
      before.map((row, i) => (i === image ? row.map((x, k) => (k === 0 ? x + 0.3 : x)) : row))
    expect(closeError(before, withError(1))).toBeGreaterThan(3 * closeError(before, withError(0)))
  })

  it('grows in proportion', () => {
    const by = (error: number) => before.map(row => row.map((x, k) => (k === 0 ? x + error : x)))
    expect(closeError(before, by(0.2)) / closeError(before, by(0.1))).toBeCloseTo(2, 3)
  })
})
