// A quantization for a network in tests: the ranges of what it computes from some images.
import type { Plan } from '../../lib/model/plan.ts'
import type { Quantization, QuantizedValue } from '../../lib/model/quantization.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { integerWeights } from '../../lib/weights/integer-weights.ts'
import { takesWeights } from '../../lib/weights/op-weights.ts'
import type { WeightSource } from '../../lib/weights/source.ts'
import { asFloats, type IntegerWeights, runReduced } from './naive-int8.ts'

/** The ranges of all values of a plan in float32 for images `[N,H,W,C]`, of which nothing but `kept` is kept. */
export async function rangesFor(
  plan: Plan,
  source: WeightSource,
  images: Uint8Array,
  kept: Quantization['kept'] = {},
): Promise<Quantization> {
  const results = await runReduced(plan, { source }, images)
  const values: { [op: string]: QuantizedValue } = { normalize: { type: 'uint8', scale: 1 } }
  for (const op of plan.ops) {
    if (op.kind !== 'conv' && op.kind !== 'globalAvgPool') continue
    const reach = (results[op.dst] as Float32Array).reduce((most, x) => Math.max(most, Math.abs(x)), 0)
    const isPositive = op.kind === 'conv' ? op.relu : (results[op.dst] as Float32Array).every(x => x >= 0)
    values[op.name] = isPositive
      ? { type: 'uint8', scale: Math.fround(reach / 255) }
      : { type: 'int8', scale: Math.fround(reach / 127) }
  }
  return { values, kept }
}

/** The logits of the slow, plain version of a quantized network, and its weights as that has them. */
export async function quantizedLogits(
  plan: Plan,
  source: WeightSource,
  quantization: Quantization,
  images: Uint8Array,
): Promise<{ readonly logits: Float32Array; readonly integers: ReadonlyMap<string, IntegerWeights> }> {
  const reduced = reducedPlan(plan, { precision: 'int8', quantization, bf16: false })
  const integers = new Map<string, IntegerWeights>()
  for (const op of reduced.ops) {
    const { precision, scale: srcScale = 1 } = 'src' in op ? reduced.values[op.src]! : {}
    if (!takesWeights(op) || op.src === reduced.ops[0]!.dst) continue
    if (precision !== 'uint8' && precision !== 'int8') continue
    const weights = await integerWeights(reduced, op, source, srcScale)
    integers.set(op.name, { weight: weights.integers, scale: Float32Array.from(weights.scale) })
  }
  const results = await runReduced(reduced, { source, integers }, images)
  const { logits } = reduced.outputs
  return { logits: asFloats(results[logits]!, reduced.values[logits]!), integers }
}
