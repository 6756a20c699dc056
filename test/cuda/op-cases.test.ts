import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSession, lower } from '../../lib/index.ts'
import { goldenPictures, goldenWeights, relativeError } from '../support/golden.ts'
import { runNaively } from '../support/naive.ts'
import { opCases } from '../support/op-cases.ts'
import { noTwin, tolerances, useTwin } from '../support/twin.ts'

const outputs = ['featureMaps', 'features', 'logits', 'probabilities'] as const

afterEach(() => vi.unstubAllEnvs())

describe.skipIf(noTwin).each(['fp32', 'fp16', 'bf16'] as const)('the CUDA backend in %s', precision => {
  it.each(opCases)('computes what plain loops compute: $title', async ({ network, shape, batch }) => {
    const weights = goldenWeights(network)
    const input = goldenPictures(batch, shape)
    const expected = await runNaively(network, weights, input, shape)
    const unit = { mean: Array(shape.channels).fill(0), std: Array(shape.channels).fill(1) }
    const plan = lower(network, { ...shape, ...unit })
    await using session = await createSession(plan, weights, { ...useTwin(), precision, batchSizes: [batch] })
    const actual = await session.run(input, { outputs })
    for (const name of outputs)
      expect(relativeError(actual[name], expected[name]!), name).toBeLessThan(tolerances[precision])
  })
})
