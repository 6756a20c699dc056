import { describe, expect, it } from 'vitest'
import { mostPeakDrift, mostRatioSpread, noiseOf } from '../../lib/benchmark/noise.ts'

const steady = { before: 100, after: 100 }
const ratios = (spread: number) => [
  {
    engine: 'onnxruntime',
    ratio: { low: 1.2 - (1.2 * spread) / 2, median: 1.2, high: 1.2 + (1.2 * spread) / 2 },
  },
]

describe('noise', () => {
  it('is not reported if ratio and peak stay within bounds', () => {
    expect(noiseOf(steady, [])).toEqual([])
    expect(
      noiseOf({ before: 100, after: 100 * (1 - 0.9 * mostPeakDrift) }, ratios(0.9 * mostRatioSpread)),
    ).toEqual([])
  })

  it('is reported if the quartiles of a ratio are too far apart', () => {
    expect(noiseOf(steady, ratios(0.2))).toEqual([
      'the quartiles of the ratio to onnxruntime are 20 % apart (more than 10 %)',
    ])
    expect(noiseOf(steady, ratios(1.1 * mostRatioSpread))).toHaveLength(1)
  })

  it('is reported if the machine became slower or faster in the meantime', () => {
    const sentence = 'the FMA peak went from 100 to 80 GFLOP/s (more than 5 %)'
    expect(noiseOf({ before: 100, after: 80 }, [])).toEqual([sentence])
    expect(noiseOf({ before: 100 * (1 - 1.1 * mostPeakDrift), after: 100 }, [])).toHaveLength(1)
    expect(noiseOf({ before: 100, after: 80 }, ratios(0.2))).toHaveLength(2)
  })
})
