import { describe, expect, it } from 'vitest'
import { median, quantile, quartiles, quartilesText } from '../../lib/base/statistics.ts'

describe('statistics', () => {
  it('takes what lies between two values where the share does', () => {
    expect(median([5, 1, 3])).toBe(3)
    expect(median([4, 1, 2, 3])).toBe(2.5)
    expect(quantile([10, 20], 0.25)).toBe(12.5)
    expect(quantile([7], 0.99)).toBe(7)
    expect([0, 1].map(share => quantile([3, 1, 2], share))).toEqual([1, 3])
  })

  it('leaves the values in their order', () => {
    const values = [3, 1, 2]
    quartiles(values)
    expect(values).toEqual([3, 1, 2])
  })

  it('writes quartiles in brackets behind the median', () => {
    expect(quartiles([5, 1, 4, 2, 3])).toEqual({ low: 2, median: 3, high: 4 })
    expect(quartilesText(quartiles([5, 1, 4, 2, 3]), 1)).toBe('3.0 (2.0-4.0)')
  })
})
