// How fast are the engines on a network? For every number of threads and batch size: the same pictures, the same logits, in turn.
import { ResidualError } from '../errors.ts'
import { planCost } from '../model/plan.ts'
import { median, type Quartiles, quartiles } from '../statistics.ts'
import type { CaseSettings } from './case-name.ts'
import type { Engine, OpenEngine, Pictures, Subject } from './engine.ts'
import { fmaPeak, inRounds } from './measure.ts'
import { noiseOf, type Peak } from './noise.ts'
import { starts } from './start.ts'
import { picturesFor } from './subject.ts'

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
  /** residual first. */
  readonly results: readonly Result[]
  /** Why the numbers are not to be trusted; none where they are. */
  readonly noise: readonly string[]
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

/** `engines`: residual first. Yields each case when it is done. */
export async function* benchmark(
  subject: Subject,
  engines: readonly Engine[],
  options: BenchmarkOptions,
): AsyncGenerator<Case> {
  for (const threads of options.threads) {
    const open: OpenEngine[] = []
    try {
      for (const engine of engines) open.push(await engine.open(subject, threads))
      for (const batch of options.batches)
        yield await measure(subject, engines, open, threads, batch, options)
    } finally {
      for (const engine of open) await engine.close()
    }
  }
}

async function measure(
  subject: Subject,
  engines: readonly Engine[],
  open: readonly OpenEngine[],
  threads: number,
  batch: number,
  { seconds, starts: startRounds, isa }: BenchmarkOptions,
): Promise<Case> {
  const pictures = picturesFor(subject.plan, batch)
  await prepare(engines, open, pictures)
  const before = await fmaPeak(isa, threads)
  const times = await inRounds(
    open.map(engine => () => engine.run()),
    seconds,
  )
  const after = await fmaPeak(isa, threads)
  const started = await starts(engines, subject, pictures.dims, threads, startRounds)

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

/** @throws ResidualError RESULTS_DIFFER where one does not compute what residual does */
async function prepare(
  engines: readonly Engine[],
  open: readonly OpenEngine[],
  pictures: Pictures,
): Promise<void> {
  const logits: Float32Array[] = []
  for (const engine of open) logits.push(await engine.prepare(pictures))
  const [ours, ...theirs] = logits
  for (const [i, other] of theirs.entries()) {
    const difference = relativeDifference(other, ours!)
    if (!(difference <= mostDifference))
      throw new ResidualError(
        'RESULTS_DIFFER',
        `The logits of ${engines[i + 1]!.name} are ${difference.toExponential(1)} from residual's, relative to their norm, ` +
          `where ${mostDifference} is the most there may be between two engines that run the same network.`,
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
