import { afterEach, expect, it, vi } from 'vitest'
import { createSession, lower } from '../../lib/index.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { seeded } from '../support/files.ts'
import { goldenImages, goldenWeights, relativeError } from '../support/golden.ts'
import { runNaively } from '../support/naive.ts'
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
import { Picker, randomNetwork } from './random-network.ts'

const networks = Number(process.env.RESIDUAL_FUZZ_NETWORKS ?? 40)
const seed = Number(process.env.RESIDUAL_FUZZ_SEED ?? 1)
const outputs = ['featureMaps', 'features', 'logits', 'probabilities'] as const
const tolerance = 2e-5 // as of the table of op cases
// Of networks of several layers: of bf16, and of int8 after what is computed in float32 and rounded.
const reducedTolerance = 5e-2

afterEach(() => vi.unstubAllEnvs())

/** {@link relativeError}, also where all that is expected is zero. */
function errorOf(actual: Float32Array, expected: Float64Array): number {
  return expected.every(value => value === 0)
    ? Math.max(...actual.map(Math.abs))
    : relativeError(actual, expected)
}

it(
  `${networks} random networks give what plain loops in float64 give, on every instruction set (seed ${seed})`,
  async () => {
    const random = seeded(seed)
    const pick = new Picker(random)
    for (let i = 0; i < networks; i++) {
      const { network, shape, title } = randomNetwork(random)
      const batch = 1 + pick.below(3)
      const options = { device: 'cpu', threads: 1 + pick.below(3), exact: pick.below(3) === 0 } as const
      const weights = goldenWeights(network)
      const images = goldenImages(batch, shape)
      const expected = await runNaively(network, weights, images, shape)
      const unit = { mean: Array(shape.channels).fill(0), std: Array(shape.channels).fill(1) }
      const plan = lower(network, { ...shape, ...unit })
      for (const isa of loadNative().capabilities()) {
        vi.stubEnv('RESIDUAL_CPU_ISA', isa)
        const session = await createSession(plan, weights, options)
        const actual = await session.run(images, { outputs })
        await session.dispose()
        // A logit may be next to nothing between large terms: it is measured by the features that it is a sum of.
        const cancelled = Math.min(1, Math.hypot(...expected.logits) / Math.hypot(...expected.features!) || 1)
        for (const name of outputs)
          expect(
            errorOf(actual[name], expected[name]!) * (name === 'logits' ? cancelled : 1),
            `${name} of network ${i} on ${isa}, batch ${batch}, ${JSON.stringify(options)}: ${title}`,
          ).toBeLessThan(tolerance)
      }
    }
  },
  60_000 + networks * 1000,
)

it(
  `${networks} random networks in int8 give to the bit what plain loops give, and nearly so in bf16, on every instruction set (seed ${seed})`,
  async () => {
    const random = seeded(seed)
    const pick = new Picker(random)
    for (let i = 0; i < networks; i++) {
      const { network, shape, title } = randomNetwork(random)
      const batch = 1 + pick.below(3)
      const weights = goldenWeights(network)
      const { plan: full, bytes } = planAndBytes(network, shape, batch)
      const quantization = await calibrated(full, weights, bytes)
      for (const { plan, sets } of [
        { plan: reducedPlan(full, { precision: 'int8', quantization, bf16: false }), sets: isas },
        { plan: reducedPlan(full, { precision: 'bf16' }), sets: isasWithBF16 },
      ]) {
        const isExact = isInt8Throughout(plan)
        const expected = await runPlainly(plan, weights, bytes)
        for (const isa of fastEnough(sets, plan, batch)) {
          const options = { isa, threads: 1 + pick.below(3) }
          const { featureMaps } = await runNatively(plan, weights, bytes, options)
          const what = `network ${i}, batch ${batch}, ${JSON.stringify(options)}: ${title}`
          if (isExact) expect(difference(featureMaps, expected.featureMaps), what).toBeUndefined()
          else
            expect(errorOf(featureMaps, Float64Array.from(expected.featureMaps)), what).toBeLessThan(
              reducedTolerance,
            )
        }
      }
    }
  },
  60_000 + networks * 2000,
)
