// How well the answers of engines agree with those of one of them, on the same images.
import { concat } from '../base/concat.ts'
import { ResidualError } from '../errors.ts'
import {
  type BenchPrecision,
  type Engine,
  EngineError,
  type OpenEngine,
  ofEngine,
  type RunSettings,
  type Subject,
} from './engine.ts'
import { batchOf } from './samples.ts'

/** An engine with the network loaded. */
export interface Standing {
  readonly engine: Engine
  readonly open: OpenEngine
}

/** The answers of an engine beside those that are expected. */
export interface Agreement {
  /** The share of the samples for which both give the same class. */
  readonly agreement: number
  /** Of the samples' logits, relative to their norm. */
  readonly difference: number
}

/**
 * The most that logits may differ from those of residual in fp32, relative to their norm. In fewer bits that only tells a broken
 * engine from a working one: the agreement tells how good it is.
 */
const mostDifference: { readonly [precision in BenchPrecision]: number } = {
  fp32: 1e-3,
  bf16: 5e-2,
  int8: 0.5,
}

/**
 * Prepares the engines for a batch of the samples, and compares their answers to all samples with those of the one that is
 * `reference`, an index.
 *
 * @throws EngineError if an engine fails or its results differ from those of residual in fp32 (RESULTS_DIFFER)
 */
export async function compareAnswers(
  subject: Subject,
  contestants: readonly Standing[],
  { batch, precision }: RunSettings & { readonly batch: number },
  reference: number,
): Promise<Agreement[]> {
  const classes = subject.plan.values[subject.plan.outputs.logits]!.channels
  const images = batchOf(subject.plan, subject.samples, 0, batch)
  const answers: Float32Array[] = []
  for (const { engine, open } of contestants) {
    const prepared = await ofEngine(engine, open.prepare(images))
    const rest = await ofEngine(engine, answersToRest(subject, open, batch))
    answers.push(concat([prepared, ...rest]).subarray(0, subject.samples.dims[0] * classes))
  }
  const expected = answers[reference]!
  return contestants.map(({ engine }, i) => {
    const difference = relativeDifference(answers[i]!, expected)
    if (difference <= mostDifference[precision])
      return { difference, agreement: agreementOf(answers[i]!, expected, classes) }
    throw new EngineError(
      engine,
      new ResidualError(
        'RESULTS_DIFFER',
        `The logits differ from those of residual in fp32 by ${difference.toExponential(1)} relative to their norm, more than the ` +
          `${mostDifference[precision]} allowed between engines that run the same network in ${precision}.`,
      ),
    )
  })
}

/** The logits of all samples but the first batch, in batches of which the last is filled up. */
async function answersToRest(
  { plan, samples }: Subject,
  open: OpenEngine,
  batch: number,
): Promise<Float32Array[]> {
  const answers: Float32Array[] = []
  for (let begin = batch; begin < samples.dims[0]; begin += batch)
    answers.push(await open.logits(batchOf(plan, samples, begin, batch)))
  return answers
}

/** The root of the summed squares of the differences, relative to the norm of what is expected. */
export function relativeDifference(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY
  let [difference, norm] = [0, 0]
  for (const [i, value] of expected.entries()) {
    difference += (actual[i]! - value) ** 2
    norm += value ** 2
  }
  return Math.sqrt(difference / norm)
}

/** The share of images whose largest logit is of the same class; of logits `[N,classes]`. */
export function agreementOf(actual: Float32Array, expected: Float32Array, classes: number): number {
  const images = expected.length / classes
  let same = 0
  for (let i = 0; i < images; i++) {
    const [begin, end] = [i * classes, (i + 1) * classes]
    if (topOf(actual.subarray(begin, end)) === topOf(expected.subarray(begin, end))) same++
  }
  return same / images
}

/** The class with the largest logit; with a single one, whether it is above 0. */
function topOf(logits: Float32Array): number {
  if (logits.length === 1) return logits[0]! > 0 ? 1 : 0
  let top = 0
  for (let k = 1; k < logits.length; k++) if (logits[k]! > logits[top]!) top = k
  return top
}
