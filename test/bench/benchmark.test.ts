import { describe, expect, it, vi } from 'vitest'
import { quartiles } from '../../lib/base/statistics.ts'
import { type BenchmarkOptions, benchmark, type Result } from '../../lib/benchmark/benchmark.ts'
import type { Engine, Model, OpenEngine, RunSettings, Subject } from '../../lib/benchmark/engine.ts'
import { residualEngine } from '../../lib/benchmark/residual-engine.ts'
import { generateSamples } from '../../lib/benchmark/samples.ts'
import { reducedKernels } from '../../lib/runtime/native.ts'
import { rangesFor } from '../support/quantized.ts'
import { tinyNetwork, tinyPlan, tinyWeights } from '../support/tiny.ts'

const model: Model = {
  plan: tinyPlan,
  weights: tinyWeights,
  checkpoint: 'none.pth',
  onnx: async () => 'none.onnx',
  onnxOps: async () => ({ file: new Uint8Array(), plan: tinyPlan }),
}
const samples = generateSamples(tinyPlan, 7)
const quantization = await rangesFor(tinyPlan, tinyWeights, samples.bytes)
const subject: Subject = {
  ...model,
  name: 'tiny',
  network: tinyNetwork,
  samples,
  safetensors: async () => 'none.safetensors',
  calibration: async () => ({ file: 'none', dims: samples.dims }),
  in: async precision =>
    precision === 'int8' ? { ...model, weights: { ...tinyWeights, quantization } } : model,
}
const ours = residualEngine('1.0.0')
const options: BenchmarkOptions = {
  batches: [1, 3],
  threads: [1],
  precisions: ['fp32'],
  seconds: 0.001,
  starts: 0,
  isa: '',
}

/** An engine that takes `ms` for everything and whose logits are residual's, unless it behaves otherwise. */
function fake(ms: number, behaviour: Partial<OpenEngine> = {}) {
  const close = vi.fn(async () => {})
  const engine: Engine = {
    name: 'fake',
    version: '0',
    precisions: ['fp32'],
    async open(subject, settings) {
      const session = await ours.open(subject, { ...settings, precision: 'fp32' })
      return {
        prepare: session.prepare,
        logits: session.logits,
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

  it.each(['bf16', 'int8'] as const)('measures residual in %s beside itself in fp32', async precision => {
    const [one] = await casesOf([ours], { precisions: [precision], batches: [2] })
    expect(one!.results.map(({ engine }) => engine)).toEqual(['residual', 'residual fp32'])
    const [{ difference, note }, reference] = one!.results as unknown as [Result, Result]
    expect(reference.difference).toBe(0)
    expect(difference).toBeLessThan(precision === 'bf16' ? 2e-2 : 0.2)
    const isFp32 = precision === 'bf16' && reducedKernels().bf16 === null
    expect(note).toEqual(isFp32 ? expect.stringContaining('bf16') : undefined)
    if (!isFp32) expect(difference).toBeGreaterThan(1e-5)
  })

  it('compares in fewer bits with engines that can, and with residual in fp32', async () => {
    const both = { ...fake(3).engine, name: 'both', precisions: ['fp32', 'bf16'] as const }
    const cases = await casesOf([ours, fake(2).engine, both], { precisions: ['fp32', 'bf16'], batches: [2] })
    const [inFp32, inBf16] = cases.map(({ precision, results }) => ({
      precision,
      engines: results.map(({ engine, precision }) => [engine, precision]),
    }))
    expect(inFp32).toEqual({
      precision: 'fp32',
      engines: [
        ['residual', 'fp32'],
        ['fake', 'fp32'],
        ['both', 'fp32'],
      ],
    })
    expect(inBf16).toEqual({
      precision: 'bf16',
      engines: [
        ['residual', 'bf16'],
        ['residual fp32', 'fp32'],
        ['both', 'bf16'],
      ],
    })
    const [reduced, reference, other] = cases[1]!.results
    expect(reference).toMatchObject({ peakShare: null, agreement: 1, difference: 0 })
    expect(reference!.ratio).toEqual(
      quartiles(reference!.times.map((ms, round) => ms / reduced!.times[round]!)),
    )
    expect(reduced!.difference).toBeLessThan(5e-2)
    expect(other!.peakShare).toBeGreaterThan(0)
  })

  /** In int8, one that answers as residual does in fp32, but for the logits of one image. */
  const wrongAt = (wrong: number, change: (logits: Float32Array) => void) => {
    let seen = 0
    const answers = (own: OpenEngine['logits']) => async (images: Parameters<typeof own>[0]) => {
      const logits = await own(images)
      const classes = logits.length / images.dims[0]
      for (let i = 0; i < images.dims[0]; i++, seen++)
        if (seen % samples.dims[0] === wrong) change(logits.subarray(i * classes, (i + 1) * classes))
      return logits
    }
    const { engine } = fake(1)
    return {
      ...engine,
      precisions: ['int8'] as const,
      async open(subject: Subject, settings: RunSettings): Promise<OpenEngine> {
        const own = await engine.open(subject, settings)
        return { ...own, prepare: answers(own.prepare), logits: answers(own.logits) }
      },
    }
  }
  const int8 = { precisions: ['int8'], batches: [3] } as const
  const residual = { ...fake(4).engine, name: 'residual', precisions: ['fp32', 'int8'] as const }

  it('tells for how many images an engine gives the same class', async () => {
    // The samples are 7 images in batches of 3, of which the last is filled up with two that are known already.
    const second = (logits: Float32Array) => {
      const top = logits.indexOf(Math.max(...logits))
      const next = logits.toSorted().at(-2)!
      logits[top] = next - 0.01 * Math.abs(next)
    }
    const [one] = await casesOf([residual, wrongAt(4, second)], int8)
    expect(one!.results.map(({ agreement }) => agreement)).toEqual([1, 1, 6 / 7])
    expect(one!.results[2]!.difference).toBeGreaterThan(1e-3) // the most in fp32
  })

  it('measures no engine in fewer bits whose answers have nothing to do with those of residual', async () => {
    const [one] = await casesOf([residual, wrongAt(4, logits => logits.fill(1e3))], int8)
    expect(one!.results).toHaveLength(2)
    expect(one!.failures).toEqual([{ engine: 'fake', reason: expect.stringContaining('RESULTS_DIFFER') }])
  })

  it('gives up if residual in fp32 fails, beside which everything is measured', async () => {
    const broken: Engine = {
      ...residual,
      open: async (subject, settings) => {
        if (settings.precision === 'fp32') throw new RangeError('no')
        return residual.open(subject, settings)
      },
    }
    await expect(casesOf([broken, wrongAt(0, () => {})], int8)).rejects.toThrow(RangeError)
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
