import { describe, expect, it, vi } from 'vitest'
import { quartiles } from '../../lib/base/statistics.ts'
import { type BenchmarkOptions, benchmark, type Result } from '../../lib/benchmark/benchmark.ts'
import type { Engine, OpenEngine, Subject } from '../../lib/benchmark/engine.ts'
import { residualEngine } from '../../lib/benchmark/residual-engine.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { tinyNetwork, tinyPlan, tinyWeights } from '../support/tiny.ts'

const subject: Subject = {
  name: 'tiny',
  network: tinyNetwork,
  plan: tinyPlan,
  weights: tinyWeights,
  checkpoint: 'none.pth',
  safetensors: async () => 'none.safetensors',
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

/** An engine that takes `ms` for everything and whose logits are residual's, unless it behaves otherwise. */
function fake(ms: number, behaviour: Partial<OpenEngine> = {}) {
  const close = vi.fn(async () => {})
  const engine: Engine = {
    name: 'fake',
    version: '0',
    async open(subject, threads) {
      const session = await ours.open(subject, threads)
      return {
        prepare: session.prepare,
        run: async () => ms,
        close: async () => {
          await session.close()
          await close()
        },
        ...behaviour,
      }
    },
    startCommand: async () => [],
  }
  return { engine, close }
}

async function casesOf(engines: readonly Engine[], others: Partial<BenchmarkOptions> = {}) {
  const cases = []
  for await (const one of benchmark(subject, engines, { ...options, ...others })) cases.push(one)
  return cases
}

describe('benchmark', () => {
  it('reports for each batch how the engines compare, round by round', async () => {
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

  it.each<[string, Partial<OpenEngine>, string]>([
    ['whose logits are others', { prepare: async () => Float32Array.of(1, 2, 3, 4) }, 'RESULTS_DIFFER'],
    [
      'whose logits are no numbers',
      { prepare: async () => new Float32Array(4).fill(Number.NaN) },
      'RESULTS_DIFFER',
    ],
    ['that takes no images', { prepare: () => Promise.reject(new Error('too many')) }, 'too many'],
    ['that dies on the way', { run: () => Promise.reject(new Error('out of memory')) }, 'out of memory'],
  ])('measures the others, and says why not one %s', async (_, behaviour, reason) => {
    const failing = fake(1, behaviour)
    const cases = await casesOf([ours, failing.engine, { ...fake(2).engine, name: 'other' }])
    expect(cases.map(({ batch }) => batch)).toEqual([1, 3])
    for (const { results, failures } of cases) {
      expect(results.map(({ engine }) => engine)).toEqual(['residual', 'other'])
      expect(results[0]!.times).toHaveLength(results[1]!.times.length)
      expect(failures).toEqual([{ engine: 'fake', reason: expect.stringContaining(reason) }])
    }
    expect(failing.close).toHaveBeenCalledOnce()
  })

  it('measures the others if one cannot be opened or started', async () => {
    const open = () => Promise.reject(new Error('no such model'))
    const closed = { ...fake(1).engine, open, name: 'closed' }
    const program = "console.error('cannot import'); process.exit(1)"
    const startCommand = async () => [process.execPath, '-e', program]
    const unstarted = { ...fake(1).engine, startCommand }
    const alone = { ...fake(1).engine, name: 'alone', startCommand: startOf(4) }
    const cases = await casesOf([alone, closed, unstarted], { batches: [1], starts: 1 })
    expect(cases).toMatchObject([
      {
        results: [{ engine: 'alone', startMs: { median: 7 }, peakBytes: 2 ** 20 }],
        failures: [
          { engine: 'closed', reason: 'no such model' },
          { engine: 'fake', reason: 'A cold start failed: cannot import' },
        ],
      },
    ])
  })

  it('gives up if residual itself fails, or starts with too few logits, and closes all engines', async () => {
    const [failing, other] = [fake(1, { run: () => Promise.reject(new RangeError('no')) }), fake(1)]
    await expect(casesOf([failing.engine, other.engine])).rejects.toThrow(RangeError)
    expect([failing.close, other.close].map(close => close.mock.calls.length)).toEqual([1, 1])
    const short = { ...fake(1).engine, startCommand: startOf(3) }
    await expect(casesOf([short], { starts: 1 })).rejects.toMatchObject({ code: 'RESULTS_DIFFER' })
  })
})

/** The command line of a start that prints that it has so many logits. */
const startOf = (logits: number) => async () => {
  const started = JSON.stringify({ milliseconds: 7, peakBytes: 2 ** 20, logits })
  return [process.execPath, '-e', `console.log(${JSON.stringify(started)})`]
}
