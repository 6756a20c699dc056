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
  /** At least, for each number of threads and batch size. */
  readonly seconds: number
  /** Fresh starts of each engine, for each number of threads and batch size; 0 for none. */
  readonly starts: number
  /** The instruction set that residual uses. */
  readonly isa: string
}

/** One network, number of threads and batch size. */
export interface Case extends CaseSettings {
  /** Of the whole batch, as {@link planCost} counts them. */
  readonly gflop: number
  /** GFLOP/s of multiply-adds in registers on these threads, before and after. */
  readonly peak: Peak
  /** residual first; without the engines that failed. */
  readonly results: readonly Result[]
  readonly failures: readonly Failure[]
  /** Why the numbers are not to be trusted; none where they are. */
  readonly noise: readonly string[]
}

/** An engine that could not be measured, and why. */
export interface Failure {
  readonly engine: string
  readonly reason: string
}

/** One engine's. */
export interface Result {
  readonly engine: string
  /** In the order of the rounds. */
  readonly times: readonly number[]
  readonly milliseconds: Quartiles
  readonly imagesPerSecond: number
  /** This engine's time over residual's, of each round; null for residual. */
  readonly ratio: Quartiles | null
  /** By the arithmetic of the plain convolution: what saves arithmetic may be above the peak. */
  readonly gflops: number
  readonly peakShare: number
  /** From the file to the first logits; null where no start was asked for. */
  readonly startMs: Quartiles | null
  /** The most memory of a start. */
  readonly peakBytes: number | null
}

/** An engine with the network in it, or why it has it not. */
interface Contestant {
  readonly engine: Engine
  readonly open: OpenEngine | EngineError
}

/**
 * `engines`: residual first. Yields each case when it is done. Another engine that fails is left out of the case and named in it.
 *
 * @throws whatever residual does
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

/** Measures again without it whenever an engine fails: times taken while another was dying are worth nothing. */
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
      peakShare: gflops / Math.max(before, after), // whatever disturbs makes a peak smaller
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

/** @throws EngineError where one fails, or does not compute what residual does (RESULTS_DIFFER) */
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
          `The logits are ${difference.toExponential(1)} from residual's, relative to their norm, ` +
            `where ${mostDifference} is the most there may be between two engines that run the same network.`,
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
