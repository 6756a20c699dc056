// Calibration: what was seen of a network's values decides how they are kept in 8 bits, and how its weights are rounded.
import { Pauses } from '../base/pauses.ts'
import type { Plan } from '../model/plan.ts'
import type { Quantization } from '../model/quantization.ts'
import { reducedPlan } from '../model/reduce.ts'
import { takesWeights } from '../weights/op-weights.ts'
import type { WeightSource } from '../weights/source.ts'
import type { QuantizedTensor } from '../weights/tensors/quantized-tensor.ts'
import { closeError } from './agreement.ts'
import { correctedBias } from './correct-bias.ts'
import { equalised } from './equalise.ts'
import type { Pixels } from './images.ts'
import { quantizedValues, scalesOf } from './quantized-values.ts'
import { type RangeChoice, type RangeMethod, rangeMethods } from './ranges.ts'
import { roundWeights, roundWithBias } from './round-weights.ts'
import type { Steps } from './steps.ts'
import {
  type AllWeights,
  type FoldedWeights,
  foldedWeights,
  type Seen,
  Trial,
  type TriedWeights,
} from './trial.ts'

/** With fewer images channels stay as they are: some would be judged by never having been seen at work. */
const leastToEqualise = 32

/** What everything is tried with. */
export interface Workbench {
  /** In float32. */
  readonly plan: Plan
  readonly threads: number
  /** Whether bf16 gains anything on this machine. */
  readonly bf16: boolean
  readonly steps: Steps
}

/** Everything but what is kept. */
export interface Calibrated {
  readonly method: RangeMethod
  /** Whether channels were brought to similar scales. */
  readonly isEqualised: boolean
  readonly values: Quantization['values']
  readonly weights: AllWeights
  /** Those of the images, in float32. */
  readonly logits: readonly Float32Array[]
}

/** Weights to be rounded, and what was seen of the network with them. */
interface Version extends Seen {
  readonly isEqualised: boolean
  readonly folded: ReadonlyMap<string, FoldedWeights>
}

/** The network in int8. Dispose of it after use. */
export function openInt8(
  { plan, threads, bf16 }: Workbench,
  weights: AllWeights,
  quantization: Quantization,
): Promise<Trial> {
  return Trial.open(reducedPlan(plan, { precision: 'int8', quantization, bf16 }), weights, threads)
}

export function quantizationOf(values: Quantization['values'], kept: readonly string[]): Quantization {
  return { values, kept: Object.fromEntries(kept.map(name => [name, 'bf16'])) }
}

/**
 * Calibrates a network by the method that was asked for or, if that is `auto`, by whichever is best; with equalised channels or
 * as they are, whichever is better: the one whose logits come closest to those in float32. The images are
 * seen once with the channels as they are and, if these are equalised, once more.
 */
export async function calibrate(
  bench: Workbench,
  source: WeightSource,
  images: readonly Pixels[],
  choice: RangeChoice,
): Promise<Calibrated> {
  const { plan, steps } = bench
  steps.begin('reading weights', plan.ops.filter(takesWeights).length)
  const folded = await foldedWeights(plan, source, steps.advance)
  steps.begin('calibrating', images.length)
  const plain = await look(bench, folded, images)
  const versions: Version[] = [{ isEqualised: false, folded, ...plain }]
  if (images.length >= leastToEqualise) {
    steps.begin('equalising channels', images.length)
    const level = await equalised(plan, folded, plain.seen)
    versions.push({ isEqualised: true, folded: level, ...(await look(bench, level, images)) })
  }
  const methods = choice === 'auto' ? rangeMethods : [choice]
  const candidates: Calibrated[] = []
  for (const its of versions) {
    const rounded = await allRounded(bench, its.folded)
    for (const method of methods) candidates.push(await withRanges(plan, its, rounded, method))
  }
  steps.begin('choosing ranges', images.length * candidates.length)
  let best: { readonly calibrated: Calibrated; readonly error: number } | undefined
  for (const calibrated of candidates) {
    const trial = await openInt8(bench, calibrated.weights, quantizationOf(calibrated.values, []))
    try {
      const error = closeError(plain.logits, await trial.logits(images, steps.advance))
      if (!best || error < best.error) best = { calibrated, error }
    } finally {
      trial.dispose()
    }
  }
  return best!.calibrated
}

/** What is seen of the network in float32. */
async function look(
  { plan, threads, steps }: Workbench,
  folded: ReadonlyMap<string, FoldedWeights>,
  images: readonly Pixels[],
): Promise<Seen> {
  const session = await Trial.open(plan, folded, threads)
  try {
    return await session.observe(images, steps.advance)
  } finally {
    session.dispose()
  }
}

async function allRounded(
  { plan, steps }: Workbench,
  folded: ReadonlyMap<string, FoldedWeights>,
): Promise<Map<string, QuantizedTensor>> {
  const ops = plan.ops.filter(takesWeights)
  steps.begin('rounding weights', ops.length)
  const [weights, pauses] = [new Map<string, QuantizedTensor>(), new Pauses()]
  for (const { name } of ops) {
    const { weight, bias } = folded.get(name)!
    weights.set(name, await roundWeights(weight, bias.length, pauses))
    steps.advance()
  }
  return weights
}

async function withRanges(
  plan: Plan,
  { isEqualised, folded, seen, logits }: Version,
  rounded: ReadonlyMap<string, QuantizedTensor>,
  method: RangeMethod,
): Promise<Calibrated> {
  const seenOf = new Map(plan.ops.map(({ dst }, i) => [dst, seen[i]!]))
  const pauses = new Pauses()
  const values = await quantizedValues(plan, seen, method, pauses)
  const scales = scalesOf(plan, values)
  const weights = new Map<string, TriedWeights>()
  for (const op of plan.ops.filter(takesWeights)) {
    const { weight, bias } = folded.get(op.name)!
    const fitting = roundWithBias(weight, rounded.get(op.name)!, bias, scales[op.src]!)
    const roundedBias = await correctedBias(op, { weight, bias }, fitting, seenOf.get(op.src)!, pauses)
    weights.set(op.name, { weight, bias, rounded: fitting, roundedBias })
  }
  return { method, isEqualised, values, weights, logits }
}
