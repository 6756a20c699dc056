import { describe, expect, it } from 'vitest'
import { add, convBN, globalAvgPool, input, linear } from '../../lib/model/layers.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { goldenWeights, relativeError } from '../support/golden.ts'
import { opCases } from '../support/op-cases.ts'
import {
  calibrated,
  difference,
  fastEnough,
  isas,
  isasWithBF16,
  isInt8Throughout,
  planAndBytes,
  runNatively,
  runPlainly,
} from '../support/reduced-runs.ts'

// bf16 has 8 bits, and the reference rounds the same values from sums that differ in the last bits of float32.
const bf16Tolerance = 1e-2
// Of what is computed from the feature maps in float32.
const logitsTolerance = 1e-5
// Of integers rounded from floats that differ in their last bits: now and then by one.
const gatedTolerance = 1e-2

const threadsOf = (i: number) => (i % 2 === 0 ? 1 : 3)

describe('int8', () => {
  it('has kernels on every machine', () => expect(isas).toContain('baseline'))

  it.each(opCases)(
    'is to the bit what plain loops compute, on every instruction set: $title',
    async opCase => {
      const { network, shape, batch } = opCase
      const weights = goldenWeights(network)
      const { plan: full, bytes } = planAndBytes(network, shape, batch)
      const quantization = await calibrated(full, weights, bytes)
      const plan = reducedPlan(full, { precision: 'int8', quantization, bf16: false })
      const expected = await runPlainly(plan, weights, bytes)
      const isExact = isInt8Throughout(plan)
      for (const [i, isa] of fastEnough(isas, plan, batch).entries()) {
        const options = { isa, threads: threadsOf(i) }
        const { featureMaps, logits } = await runNatively(plan, weights, bytes, options)
        const what = JSON.stringify(options)
        if (isExact) expect(difference(featureMaps, expected.featureMaps), what).toBeUndefined()
        const tolerance = isExact ? logitsTolerance : gatedTolerance
        expect(relativeError(featureMaps, Float64Array.from(expected.featureMaps)), what).toBeLessThan(
          tolerance,
        )
        expect(relativeError(logits, Float64Array.from(expected.logits)), what).toBeLessThan(tolerance)
      }
    },
  )
})

describe('int8 without a ReLU', () => {
  it.each([5, 16, 33, 80])(
    'is clipped to -127 and 127 on every instruction set: %i channels',
    async channels => {
      const names = (i: number) => ({ conv: `c${i}`, bn: `b${i}` })
      const x = convBN(input(12), { names: names(1), channels, kernel: 3, activation: null })
      const featureMaps = add(convBN(x, { names: names(2), channels, kernel: 1, activation: null }), x)
      const features = globalAvgPool(featureMaps)
      const logits = linear(features, { name: 'fc', classes: 3 })
      const network = { name: 'clipped', graph: x.graph, outputs: { logits, features, featureMaps } }
      const weights = goldenWeights(network)
      const { plan: full, bytes } = planAndBytes(network, { height: 7, width: 9, channels: 12 }, 2)
      const quantization = await calibrated(full, weights, bytes, /*share=*/ 0.3)
      const plan = reducedPlan(full, { precision: 'int8', quantization, bf16: false })
      const expected = await runPlainly(plan, weights, bytes)
      const most = Math.fround(127 * plan.values[plan.outputs.featureMaps!]!.scale!)
      for (const end of [-most, most])
        expect(expected.featureMaps.filter(number => number === end).length).toBeGreaterThan(10)
      for (const isa of isas) {
        const { featureMaps } = await runNatively(plan, weights, bytes, { isa, threads: 2 })
        expect(difference(featureMaps, expected.featureMaps), isa).toBeUndefined()
      }
    },
  )
})

describe.skipIf(isasWithBF16.length === 0)('bf16', () => {
  it.each(opCases)('is what plain loops compute, and the same emulated: $title', async opCase => {
    const { network, shape, batch } = opCase
    const weights = goldenWeights(network)
    const { plan: full, bytes } = planAndBytes(network, shape, batch)
    const plan = reducedPlan(full, { precision: 'bf16' })
    const expected = await runPlainly(plan, weights, bytes)
    const seen = new Map<string, Float32Array>()
    for (const isa of fastEnough(isasWithBF16, plan, batch)) {
      const one = await runNatively(plan, weights, bytes, { isa, threads: 1 })
      for (const name of ['featureMaps', 'logits'] as const) {
        const error = relativeError(one[name], Float64Array.from(expected[name]))
        expect(error, `${name} on ${isa}`).toBeLessThan(bf16Tolerance)
      }
      const three = await runNatively(plan, weights, bytes, { isa, threads: 3 })
      for (const name of ['featureMaps', 'logits'] as const)
        expect(difference(three[name], one[name]), `${name} on ${isa} by three threads`).toBeUndefined()
      seen.set(isa, one.featureMaps)
    }
    for (const [isa, maps] of seen) {
      const hardware = seen.get(isa.replace('-emulated', ''))
      if (hardware) expect(difference(maps, hardware), `${isa} and the hardware`).toBeUndefined()
    }
  })
})
