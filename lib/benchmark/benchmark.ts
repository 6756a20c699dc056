// The benchmark of whole networks: for every thread count and batch size, the engines take turns on the same images and must agree
// on the logits.

import { median, type Quartiles, quartiles } from '../base/statistics.ts'
import { ResidualError } from '../errors.ts'
import { planCost } from '../model/plan.ts'
import type { CaseSettings } from './case-name.ts'
import { type Engine, EngineError, type Images, type OpenEngine, ofEngine, type Subject } from './engine.ts'
import { fmaPeak, inRounds } from './measure.ts'
import { noiseOf, type Peak } from './noise.ts'
import { starts } from './start.ts'
import { imagesFor } from './subject.ts'

export interface BenchmarkOptions {
  readonly batches: readonly number[]
  readonly threads: readonly number[]
  /** Minimum time per thread count and batch size. */
  readonly seconds: number
  /** Cold starts of each engine per thread count and batch size; 0 for none. */
  readonly starts: number
  /** The instruction set that residual uses. */
  readonly isa: string
}

/** One network, number of threads and batch size. */
export interface Case extends CaseSettings {
  /** For the whole batch, as {@link planCost} counts. */
  readonly gflop: number
  /** GFLOP/s of multiply-adds in registers on these threads, before and after. */
  readonly peak: Peak
  /** residual first; engines that failed are left out. */
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

/** The measurements of one engine. */
export interface Result {
  readonly engine: string
  /** In the order of the rounds. */
  readonly times: readonly number[]
  readonly milliseconds: Quartiles
  readonly imagesPerSecond: number
  /** This engine's time over residual's, per round; null for residual itself. */
  readonly ratio: Quartiles | null
  /** Counted as plain convolution: an algorithm that saves arithmetic can exceed the peak. */
  readonly gflops: number
  readonly peakShare: number
  /** From the file to the first logits; null if no starts were measured. */
  readonly startMs: Quartiles | null
  /** Peak memory of a start. */
  readonly peakBytes: number | null
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
  for (const threads of options.threads) {
    const contestants: Contestant[] = []
    try {
      for (const engine of engines) contestants.push({ engine, open: await opened(engine, subject, threads) })
      for (const batch of options.batches)
        yield await measureThoseThatCan(subject, contestants, threads, batch, options)
    } finally {
      for (const { open } of contestants) if (!(open instanceof EngineError)) await open.close()
    }
  }
}

const opened = (engine: Engine, subject: Subject, threads: number): Promise<OpenEngine | EngineError> =>
  ofEngine(engine, engine.open(subject, threads)).catch(error => error)

/** Measures again without an engine that fails: times taken while it was failing are worthless. */
async function measureThoseThatCan(
  subject: Subject,
  contestants: readonly Contestant[],
  threads: number,
  batch: number,
  options: BenchmarkOptions,
): Promise<Case> {
  const failures: Failure[] = []
  let standing = contestants
  for (;;)
    try {
      return { ...(await measure(subject, standing, threads, batch, options)), failures }
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      if (error.engine === contestants[0]!.engine) throw error.cause
      failures.push({ engine: error.engine.name, reason: error.message })
      standing = standing.filter(({ engine }) => engine !== error.engine)
    }
}

async function measure(
  subject: Subject,
  contestants: readonly Contestant[],
  threads: number,
  batch: number,
  { seconds, starts: startRounds, isa }: BenchmarkOptions,
): Promise<Omit<Case, 'failures'>> {
  const engines = contestants.map(({ engine }) => engine)
  const open = contestants.map(({ open }) => {
    if (open instanceof EngineError) throw open
    return open
  })
  const images = imagesFor(subject.plan, batch)
  await prepare(engines, open, images)
  const before = await fmaPeak(isa, threads)
  const times = await inRounds(
    open.map((openEngine, i) => () => ofEngine(engines[i]!, openEngine.run())),
    seconds,
  )
  const after = await fmaPeak(isa, threads)
  const started = await starts(engines, subject, images.dims, threads, startRounds)

  const gflop = (planCost(subject.plan).flops * batch) / 1e9
  const results = engines.map(({ name }, i): Result => {
    const milliseconds = quartiles(times[i]!)
    const gflops = gflop / (milliseconds.median / 1000)
    const ownStarts = started[i]!
    const bytes = ownStarts.map(({ peakBytes }) => peakBytes).filter(x => x !== null)
    return {
      engine: name,
      times: times[i]!,
      milliseconds,
      imagesPerSecond: batch / (milliseconds.median / 1000),
      ratio: i === 0 ? null : quartiles(times[i]!.map((ms, round) => ms / times[0]![round]!)),
      gflops,
      peakShare: gflops / Math.max(before, after), // disturbances only lower a peak
      startMs: ownStarts.length > 0 ? quartiles(ownStarts.map(start => start.milliseconds)) : null,
      peakBytes: bytes.length > 0 ? median(bytes) : null,
    }
  })
  const ratios = results.flatMap(({ engine, ratio }) => (ratio ? [{ engine, ratio }] : []))
  const peak = { before, after }
  return {
    network: subject.name,
    threads,
    batch,
    gflop,
    peak,
    results,
    noise: noiseOf(peak, ratios),
  }
}

const mostDifference = 1e-3 // of the logits, relative to their norm

/** @throws EngineError if an engine fails or its results differ from residual's (RESULTS_DIFFER) */
async function prepare(
  engines: readonly Engine[],
  open: readonly OpenEngine[],
  images: Images,
): Promise<void> {
  let ours: Float32Array | undefined
  for (const [i, engine] of engines.entries()) {
    const logits = await ofEngine(engine, open[i]!.prepare(images))
    ours ??= logits
    const difference = relativeDifference(logits, ours)
    if (!(difference <= mostDifference))
      throw new EngineError(
        engine,
        new ResidualError(
          'RESULTS_DIFFER',
          `The logits differ from residual's by ${difference.toExponential(1)} relative to their norm, ` +
            `more than the ${mostDifference} allowed between engines that run the same network.`,
        ),
      )
  }
}

function relativeDifference(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY
  let [difference, norm] = [0, 0]
  for (const [i, value] of expected.entries()) {
    difference += (actual[i]! - value) ** 2
    norm += value ** 2
  }
  return Math.sqrt(difference / norm)
}
