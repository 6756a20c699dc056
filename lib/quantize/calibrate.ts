// Calibration: what was seen of a network's values decides how they are kept in 8 bits, and how its weights are rounded.
import type { Plan } from '../model/plan.ts'
import type { Quantization } from '../model/quantization.ts'
import { reducedPlan } from '../model/reduce.ts'
import type { Observation } from '../runtime/native.ts'
import { takesWeights } from '../weights/op-weights.ts'
import type { WeightSource } from '../weights/source.ts'
import type { QuantisedTensor } from '../weights/tensors/quantised-tensor.ts'
import { closeError } from './agreement.ts'
import { correctedBias } from './correct-bias.ts'
import { equalised } from './equalise.ts'
import { quantizedValues, scalesOf } from './quantized-values.ts'
import { type RangeChoice, type RangeMethod, rangeMethods } from './ranges.ts'
import { roundWeights, roundWithBias } from './round-weights.ts'
import type { Steps } from './steps.ts'
import { type AllWeights, type FoldedWeights, foldedWeights, Trial, type TriedWeights } from './trial.ts'

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
export interface CalibratedRanges {
  readonly method: RangeMethod
  readonly values: Quantization['values']
  readonly weights: AllWeights
}

/** What does not depend on the ranges. */
interface Rounded {
  readonly equal: ReadonlyMap<string, FoldedWeights>
  /** By operation of the plan. */
  readonly seen: readonly Observation[]
  readonly weights: ReadonlyMap<string, QuantisedTensor>
}

const mostEqualising = 64 // images that tell which scales channels are on

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

/** The folded weights, channels on similar scales. */
export async function equalWeights(
  { plan, threads, steps }: Workbench,
  source: WeightSource,
  images: readonly Uint8Array[],
): Promise<Map<string, FoldedWeights>> {
  steps.begin('reading weights', plan.ops.filter(takesWeights).length)
  const folded = await foldedWeights(plan, source, steps.advance)
  const trial = await Trial.open(plan, folded, threads)
  try {
    const some = images.slice(0, mostEqualising)
    steps.begin('equalising', some.length)
    return equalised(plan, folded, await trial.observe(some, steps.advance))
  } finally {
    trial.dispose()
  }
}

/**
 * Ranges by the method that was asked for or, if that is `auto`, by the one whose logits are closest to those of the reference.
 *
 * @param reference the network in float32, with the weights `equal`
 */
export async function calibrate(
  bench: Workbench,
  reference: Trial,
  equal: ReadonlyMap<string, FoldedWeights>,
  images: readonly Uint8Array[],
  choice: RangeChoice,
): Promise<CalibratedRanges> {
  const { plan, steps } = bench
  steps.begin('calibrating', images.length)
  const seen = await reference.observe(images, steps.advance)
  const rounded = { equal, seen, weights: allRounded(bench, equal) }
  if (choice !== 'auto') return withRanges(plan, rounded, choice)
  steps.begin('choosing ranges', images.length * (rangeMethods.length + 1))
  const before = await reference.logits(images, steps.advance)
  let best: { readonly ranges: CalibratedRanges; readonly error: number } | undefined
  for (const method of rangeMethods) {
    const ranges = withRanges(plan, rounded, method)
    const trial = await openInt8(bench, ranges.weights, quantizationOf(ranges.values, []))
    try {
      const error = closeError(before, await trial.logits(images, steps.advance))
      if (!best || error < best.error) best = { ranges, error }
    } finally {
      trial.dispose()
    }
  }
  return best!.ranges
}

function allRounded(
  { plan, steps }: Workbench,
  equal: ReadonlyMap<string, FoldedWeights>,
): Map<string, QuantisedTensor> {
  const ops = plan.ops.filter(takesWeights)
  steps.begin('rounding weights', ops.length)
  const weights = new Map<string, QuantisedTensor>()
  for (const { name } of ops) {
    const { weight, bias } = equal.get(name)!
    weights.set(name, roundWeights(weight, bias.length))
    steps.advance()
  }
  return weights
}

function withRanges(
  plan: Plan,
  { equal, seen, weights: rounded }: Rounded,
  method: RangeMethod,
): CalibratedRanges {
  const seenOf = new Map(plan.ops.map(({ dst }, i) => [dst, seen[i]!]))
  const values = quantizedValues(plan, seen, method)
  const scales = scalesOf(plan, values)
  const weights = new Map<string, TriedWeights>()
  for (const op of plan.ops.filter(takesWeights)) {
    const { weight, bias } = equal.get(op.name)!
    const fitting = roundWithBias(weight, rounded.get(op.name)!, bias, scales[op.src]!)
    const roundedBias = correctedBias(op, { weight, bias }, fitting, seenOf.get(op.src)!)
    weights.set(op.name, { weight, bias, rounded: fitting, roundedBias })
  }
  return { method, values, weights }
}
