// The benchmark of whole networks: for every thread count, precision and batch size, the engines take turns on the same images and
// must agree on the logits. In fewer bits than fp32, residual in fp32 is one of them.

import { median, type Quartiles, quartiles } from '../base/statistics.ts'
import { planCost } from '../model/plan.ts'
import { type Agreement, compareAnswers, type Standing } from './agreement.ts'
import type { CaseSettings } from './case-name.ts'
import {
  type BenchPrecision,
  type Engine,
  EngineError,
  type OpenEngine,
  ofEngine,
  type RunSettings,
  type Subject,
} from './engine.ts'
import { fmaPeak, inRounds } from './measure.ts'
import { noiseOf, type Peak } from './noise.ts'
import { fp32Reference } from './residual-engine.ts'
import { starts } from './start.ts'

export interface BenchmarkOptions {
  readonly batches: readonly number[]
  readonly threads: readonly number[]
  readonly precisions: readonly BenchPrecision[]
  /** Minimum time per case. */
  readonly seconds: number
  /** Cold starts of each engine per case; 0 for none. */
  readonly starts: number
  /** The instruction set that residual uses. */
  readonly isa: string
}

/** One network, number of threads, precision and batch size. */
export interface Case extends CaseSettings {
  /** For the whole batch, as {@link planCost} counts. */
  readonly gflop: number
  /** GFLOP/s of multiply-adds of this precision in registers on these threads, before and after. */
  readonly peak: Peak
  /** residual first, then what it does in fp32 if this is not fp32 itself; engines that failed are left out. */
  readonly results: readonly Result[]
  readonly failures: readonly Failure[]
  /** Reasons not to trust the numbers; empty if they are fine. */
  readonly noise: readonly string[]
}

/** An engine that could not be measured, and why. */
export interface Failure {
  readonly engine: string
  readonly reason: string
}

/** The measurements of one engine, and how it agrees with residual in fp32. */
export interface Result extends Agreement {
  readonly engine: string
  readonly precision: BenchPrecision
  /** In the order of the rounds. */
  readonly times: readonly number[]
  readonly milliseconds: Quartiles
  readonly imagesPerSecond: number
  /** This engine's time over residual's, per round; null for residual itself. */
  readonly ratio: Quartiles | null
  /** Counted as plain convolution: an algorithm that saves arithmetic can exceed the peak. */
  readonly gflops: number
  /** Null for another precision than the peak's. */
  readonly peakShare: number | null
  /** From the file to the first logits; null if no starts were measured. */
  readonly startMs: Quartiles | null
  /** Peak memory of a start. */
  readonly peakBytes: number | null
  /** As of {@link OpenEngine}. */
  readonly note?: string
}

/** How a case is run. */
interface CaseRun extends RunSettings {
  readonly batch: number
}

/** An engine with the network loaded, or the reason that it failed to load. */
interface Contestant {
  readonly engine: Engine
  readonly open: OpenEngine | EngineError
}

/**
 * `engines`: residual first. Yields each case when it is done. If another engine fails, the case leaves it out and names it.
 *
 * @throws whatever residual throws
 */
export async function* benchmark(
  subject: Subject,
  engines: readonly Engine[],
  options: BenchmarkOptions,
): AsyncGenerator<Case> {
  for (const threads of options.threads)
    for (const precision of options.precisions) {
      const settings = { threads, precision }
      const contestants: Contestant[] = []
      try {
        for (const engine of contestantsIn(precision, engines))
          contestants.push({ engine, open: await opened(engine, subject, settings) })
        for (const batch of options.batches)
          yield await measureThoseThatCan(subject, contestants, { ...settings, batch }, options)
      } finally {
        for (const { open } of contestants) if (!(open instanceof EngineError)) await open.close()
      }
    }
}

/** residual, then residual in fp32 unless that is the same, and the others that compute in this precision. */
function contestantsIn(precision: BenchPrecision, [residual, ...others]: readonly Engine[]): Engine[] {
  const reference = precision === 'fp32' ? [] : [fp32Reference(residual!)]
  return [residual!, ...reference, ...others.filter(({ precisions }) => precisions.includes(precision))]
}

/** How many contestants are residual. */
const ownEngines = ({ precision }: RunSettings) => (precision === 'fp32' ? 1 : 2)

const opened = (engine: Engine, subject: Subject, settings: RunSettings): Promise<OpenEngine | EngineError> =>
  ofEngine(engine, engine.open(subject, settings)).catch(error => error)

/** Measures again without an engine that fails: times taken while it was failing are worthless. */
async function measureThoseThatCan(
  subject: Subject,
  contestants: readonly Contestant[],
  settings: CaseRun,
  options: BenchmarkOptions,
): Promise<Case> {
  const failures: Failure[] = []
  let standing = contestants
  for (;;)
    try {
      return { ...(await measure(subject, standing, settings, options)), failures }
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      const failed = contestants.findIndex(({ engine }) => engine === error.engine)
      if (failed < ownEngines(settings)) throw error.cause
      failures.push({ engine: error.engine.name, reason: error.message })
      standing = standing.filter(({ engine }) => engine !== error.engine)
    }
}

async function measure(
  subject: Subject,
  contestants: readonly Contestant[],
  settings: CaseRun,
  { seconds, starts: startRounds, isa }: BenchmarkOptions,
): Promise<Omit<Case, 'failures'>> {
  const { batch, precision } = settings
  const engines = contestants.map(({ engine }) => engine)
  const standing = contestants.map(({ engine, open }): Standing => {
    if (open instanceof EngineError) throw open
    return { engine, open }
  })
  const answers = await compareAnswers(subject, standing, settings, ownEngines(settings) - 1)
  const before = await fmaPeak(isa, settings)
  const times = await inRounds(
    standing.map(
      ({ engine, open }) =>
        () =>
          ofEngine(engine, open.run()),
    ),
    seconds,
  )
  const after = await fmaPeak(isa, settings)
  const [, ...imageDims] = subject.samples.dims
  const started = await starts(engines, subject, [batch, ...imageDims], settings, startRounds)

  const gflop = (planCost(subject.plan).flops * batch) / 1e9
  const results = engines.map(({ name, precisions }, i): Result => {
    const milliseconds = quartiles(times[i]!)
    const gflops = gflop / (milliseconds.median / 1000)
    const ownStarts = started[i]!
    const bytes = ownStarts.map(({ peakBytes }) => peakBytes).filter(x => x !== null)
    const { note } = standing[i]!.open
    const inPrecision = precisions.includes(precision)
    return {
      engine: name,
      precision: inPrecision ? precision : 'fp32',
      times: times[i]!,
      milliseconds,
      imagesPerSecond: batch / (milliseconds.median / 1000),
      ratio: i === 0 ? null : quartiles(times[i]!.map((ms, round) => ms / times[0]![round]!)),
      gflops,
      peakShare: inPrecision ? gflops / Math.max(before, after) : null, // disturbances only lower a peak
      ...answers[i]!,
      startMs: ownStarts.length > 0 ? quartiles(ownStarts.map(start => start.milliseconds)) : null,
      peakBytes: bytes.length > 0 ? median(bytes) : null,
      ...(note !== undefined && { note }),
    }
  })
  const ratios = results.flatMap(({ engine, ratio }) => (ratio ? [{ engine, ratio }] : []))
  const peak = { before, after }
  return {
    network: subject.name,
    ...settings,
    gflop,
    peak,
    results,
    noise: noiseOf(peak, ratios),
  }
}
