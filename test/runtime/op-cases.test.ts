import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSession, lower } from '../../lib/index.ts'
import { loadWeights } from '../../lib/runtime/load-weights.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { goldenImages, goldenWeights, relativeError } from '../support/golden.ts'
import { weightsInRSCK } from '../support/layouts.ts'
import { runNaively } from '../support/naive.ts'
import { type OpCase, opCases } from '../support/op-cases.ts'

const outputs = ['featureMaps', 'features', 'logits', 'probabilities'] as const
// Relative to the norm: of float32 sums over up to 20,000 products, and of Winograd's transforms.
const exactTolerance = 5e-6
const tolerance = 2e-5

afterEach(() => vi.unstubAllEnvs())

const { NativeSession } = loadNative()

const planOf = ({ network, shape }: OpCase) => {
  const unit = { mean: Array(shape.channels).fill(0), std: Array(shape.channels).fill(1) }
  return lower(network, { ...shape, ...unit })
}

describe.each(loadNative().capabilities())('the kernels for %s', isa => {
  it.each(opCases)('compute what plain loops compute: $title', async opCase => {
    const { network, shape, batch } = opCase
    vi.stubEnv('RESIDUAL_CPU_ISA', isa)
    const weights = goldenWeights(network)
    const input = goldenImages(batch, shape)
    const expected = await runNaively(network, weights, input, shape)
    const plan = planOf(opCase)
    for (const [threads, exact] of [
      [1, false],
      [3, false],
      [3, true],
    ] as const) {
      const bound = exact ? exactTolerance : tolerance
      const source = exact ? weightsInRSCK(weights) : weights
      await using session = await createSession(plan, source, { device: 'cpu', threads, exact })
      expect(session.device).toMatchObject({ isa })
      const actual = await session.run(input, { outputs })
      for (const name of outputs)
        expect(relativeError(actual[name], expected[name]!), name).toBeLessThan(bound)
    }
  })

  const waysOf = (opCase: OpCase) => new NativeSession(planOf(opCase), { isa }).algorithms()
  const withChoice = opCases.filter(opCase => waysOf(opCase).some(names => names.length > 1))
  it.each(withChoice)('compute the same with every algorithm: $title', async opCase => {
    const plan = planOf(opCase)
    const ways = waysOf(opCase)
    const input = goldenImages(opCase.batch, opCase.shape)
    const run = async (way: string, weights = goldenWeights(opCase.network)) => {
      const algorithms = ways.map(names => (names.includes(way) ? way : ''))
      const session = new NativeSession(plan, { threads: 2, isa, algorithms })
      await loadWeights(plan, weights, session, 1)
      expect(session.algorithms().map(([first]) => first)).toEqual(
        ways.map(([first], op) => algorithms[op] || first),
      )
      const { featureMaps } = await session.run(input, ['featureMaps'])
      session.dispose()
      return featureMaps!
    }
    const direct = await run('direct')
    const others = new Set(ways.flat())
    expect(others.delete('direct')).toBe(true)
    for (const way of others) {
      const actual = await run(way)
      expect(actual).not.toEqual(direct)
      expect(await run(way, weightsInRSCK(goldenWeights(opCase.network)))).toEqual(actual)
      expect(relativeError(actual, direct), way).toBeLessThan(1e-5)
    }
  })
})
