import { describe, expect, it, vi } from 'vitest'
import { type BenchmarkOptions, benchmark, type Result } from '../../lib/bench/benchmark.ts'
import { type Engine, residualEngine, type Subject } from '../../lib/bench/engine.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { quartiles } from '../../lib/statistics.ts'
import { tinyNetwork, tinyPlan, tinyWeights } from '../support/tiny.ts'

const subject: Subject = {
  name: 'tiny',
  network: tinyNetwork,
  plan: tinyPlan,
  weights: tinyWeights,
  checkpoint: 'none.safetensors',
  onnx: async () => 'none.onnx',
}
const ours = residualEngine('1.0.0')
const options: BenchmarkOptions = {
  batches: [1, 3],
  threads: [1],
  seconds: 0.001,
  starts: 0,
  isa: loadNative().capabilities()[0]!,
}

/** An engine that takes `ms` for everything and whose logits are residual's, each changed. */
function fake(ms: number, change = (logit: number) => logit) {
  const close = vi.fn(async () => {})
  const engine: Engine = {
    name: 'fake',
    version: '0',
    async open(subject, threads) {
      const session = await ours.open(subject, threads)
      return {
        prepare: async pictures => (await session.prepare(pictures)).map(change),
        run: async () => ms,
        close: async () => {
          await session.close()
          await close()
        },
      }
    },
    startCommand: async () => [],
  }
  return { engine, close }
}

async function casesOf(engines: readonly Engine[]) {
  const cases = []
  for await (const one of benchmark(subject, engines, options)) cases.push(one)
  return cases
}

describe('benchmark', () => {
  it('tells of each batch how the engines compare, round by round', async () => {
    const cases = await casesOf([fake(4).engine, fake(5).engine])
    expect(cases.map(({ batch }) => batch)).toEqual([1, 3])
    const [first, second] = cases[1]!.results
    expect(first).toMatchObject({ ratio: null, imagesPerSecond: 750 })
    expect(second).toMatchObject({ ratio: { low: 1.25, median: 1.25, high: 1.25 }, imagesPerSecond: 600 })
    expect(second!.gflops).toBeCloseTo(cases[1]!.gflop / 0.005, 9)
    const { before, after } = cases[1]!.peak
    expect(second!.peakShare).toBeCloseTo(second!.gflops / Math.max(before, after), 9)
  })

  it('measures residual itself', async () => {
    const [one] = await casesOf([ours, fake(1e6).engine])
    const [{ times }, { ratio }] = one!.results as unknown as [Result, Result]
    for (const ms of times) expect(ms).toBeGreaterThan(0)
    expect(ratio).toEqual(quartiles(times.map(ms => 1e6 / ms)))
  })

  it.each([
    ['other numbers', (logit: number) => logit * 1.01],
    ['no numbers', () => Number.NaN],
  ])('compares nothing with an engine whose logits are %s', async (_, change) => {
    const { engine, close } = fake(1, change)
    await expect(casesOf([ours, engine])).rejects.toMatchObject({ code: 'RESULTS_DIFFER' })
    expect(close).toHaveBeenCalledOnce()
  })
})
