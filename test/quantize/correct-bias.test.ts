import { expect, it } from 'vitest'
import type { ConvOp } from '../../lib/model/ops.ts'
import { correctedBias } from '../../lib/quantize/correct-bias.ts'
import { roundWeights } from '../../lib/quantize/round-weights.ts'
import { seeded } from '../support/files.ts'

const random = seeded(3)
const numbers = (length: number) => Float32Array.from({ length }, () => random() * 2 - 1)

it.each([1, 2, 4])(
  'biases make up for what rounding does to the means of channels: %i groups',
  async groups => {
    const [inputs, outputs, kernel, pixels] = [8, 12, 3, 10]
    const perOutput = (inputs / groups) * kernel ** 2
    const [weight, bias, means] = [numbers(outputs * perOutput), numbers(outputs), numbers(inputs)]
    const rounded = await roundWeights(weight, outputs)
    const seen = {
      pixels,
      channelSums: Float64Array.from(means, mean => mean * pixels),
      channelSquares: new Float64Array(inputs),
      channelMaxima: new Float32Array(inputs),
      binWidth: 0,
      bins: new Float64Array(1),
    }
    const op = { kind: 'conv', kernel, groups } as ConvOp
    const corrected = await correctedBias(op, { weight, bias }, rounded, seen)
    /** The result for an image of nothing but the means. */
    const meanOf = (k: number, weightAt: (i: number) => number, biases: Float32Array) => {
      const first = Math.floor(k / (outputs / groups)) * (inputs / groups)
      let sum = biases[k]!
      for (let i = 0; i < perOutput; i++)
        sum += weightAt(k * perOutput + i) * means[first + Math.floor(i / kernel ** 2)]!
      return sum
    }
    let shift = 0
    for (let k = 0; k < outputs; k++) {
      const integers = (i: number) => rounded.integers[i]! * rounded.scales[k]!
      const before = meanOf(k, i => weight[i]!, bias)
      expect(meanOf(k, integers, corrected)).toBeCloseTo(before, 5)
      shift = Math.max(shift, Math.abs(meanOf(k, integers, bias) - before))
    }
    expect(shift).toBeGreaterThan(1e-3) // there was something to make up for
  },
)
