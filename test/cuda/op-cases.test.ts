import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSession, lower } from '../../lib/index.ts'
import { goldenImages, goldenWeights, relativeError } from '../support/golden.ts'
import { runNaively } from '../support/naive.ts'
import { type OpCase, opCases } from '../support/op-cases.ts'
import { noTwin, tolerances, useTwin } from '../support/twin.ts'

const outputs = ['featureMaps', 'features', 'logits', 'probabilities'] as const

afterEach(() => vi.unstubAllEnvs())

/** Where cuDNN refuses every plan, all is done by our own kernel. */
const ways = [
  { precision: 'fp32', by: 'cuDNN', faults: '' },
  { precision: 'fp16', by: 'cuDNN', faults: '' },
  { precision: 'bf16', by: 'our own kernel', faults: 'plans:1' },
] as const

/** Larger ones are about how the CPU cuts batches. */
const cases = opCases.filter(({ batch, shape }) => batch * shape.height * shape.width < 100_000)

/** What plain loops compute, once for all ways. */
const references = new Map<OpCase, ReturnType<typeof runNaively>>()
function reference(opCase: OpCase): ReturnType<typeof runNaively> {
  const { network, shape, batch } = opCase
  const result =
    references.get(opCase) ?? runNaively(network, goldenWeights(network), goldenImages(batch, shape), shape)
  references.set(opCase, result)
  return result
}

describe.skipIf(noTwin).each(ways)('the CUDA backend in $precision by $by', ({ precision, faults }) => {
  it.each(cases)('computes what plain loops compute: $title', async opCase => {
    const { network, shape, batch } = opCase
    const weights = goldenWeights(network)
    const input = goldenImages(batch, shape)
    const expected = await reference(opCase)
    const unit = { mean: Array(shape.channels).fill(0), std: Array(shape.channels).fill(1) }
    const plan = lower(network, { ...shape, ...unit })
    const options = { ...useTwin({ faults }), precision, batchSizes: [batch] }
    await using session = await createSession(plan, weights, options)
    const actual = await session.run(input, { outputs })
    for (const name of outputs)
      expect(relativeError(actual[name], expected[name]!), name).toBeLessThan(tolerances[precision])
  })
})
