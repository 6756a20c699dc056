import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSession, lower } from '../../lib/index.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { goldenPictures, goldenWeights, relativeError } from '../support/golden.ts'
import { runNaively } from '../support/naive.ts'
import { opCases } from '../support/op-cases.ts'

const outputs = ['featureMaps', 'features', 'logits', 'probabilities'] as const
// Relative to the norm: of float32 sums over up to 20,000 products, and of Winograd's transforms.
const exactTolerance = 5e-6
const tolerance = 2e-5

afterEach(() => vi.unstubAllEnvs())

describe.each(loadNative().capabilities())('the kernels for %s', isa => {
  it.each(opCases)('compute what plain loops compute: $title', async ({ network, shape, batch }) => {
    vi.stubEnv('RESIDUAL_CPU_ISA', isa)
    const weights = goldenWeights(network)
    const input = goldenPictures(batch, shape)
    const expected = await runNaively(network, weights, input, shape)
    const unit = { mean: Array(shape.channels).fill(0), std: Array(shape.channels).fill(1) }
    const plan = lower(network, { ...shape, ...unit })
    for (const [threads, exact] of [
      [1, false],
      [3, false],
      [3, true],
    ] as const) {
      const bound = exact ? exactTolerance : tolerance
      await using session = await createSession(plan, weights, { device: 'cpu', threads, exact })
      expect(session.device).toMatchObject({ isa })
      const actual = await session.run(input, { outputs })
      for (const name of outputs)
        expect(relativeError(actual[name], expected[name]!), name).toBeLessThan(bound)
    }
  })
})
