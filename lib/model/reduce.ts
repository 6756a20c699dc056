// Plans in fewer bits: of a plan in float32, one whose operations compute, and keep their values, in 8 or 16 bits. Where an
// operation needs a value otherwise than it is kept, a conversion is put in.
import { type Op, operandsOf } from './ops.ts'
import type { Plan } from './plan.ts'
import { type Need, ReducedValues, type Reduction } from './reduced-values.ts'
import type { Kept, PlanValue } from './value.ts'

export type { Reduction } from './reduced-values.ts'

/**
 * The plan that computes the same network in fewer bits. Logits, probabilities and features are float32; feature maps are kept
 * as the operation that makes them does.
 *
 * @param plan in float32
 * @throws ResidualError CHECKPOINT_MISMATCH for a quantization that is not of this plan: it names operations that the plan does
 *   not have, lacks values that are read in int8, or keeps negative numbers as uint8
 */
export function reducedPlan(plan: Plan, reduction: Reduction): Plan {
  return new Reducing(plan, reduction).plan()
}

class Reducing {
  readonly #choices: ReducedValues
  readonly #values: PlanValue[] = []
  readonly #ops: Op[] = []
  /** By value of the given plan: the indices of it and of its conversions, by precision. */
  readonly #made: Map<string, number>[] = []

  constructor(
    private readonly given: Plan,
    reduction: Reduction,
  ) {
    this.#choices = new ReducedValues(given, reduction)
  }

  plan(): Plan {
    const { name, ops, outputs } = this.given
    for (const [i, op] of ops.entries()) this.#add(op, this.#choices.needs[i]!)
    const returned = Object.entries(outputs).map(([output, value]) => [
      output,
      this.#as(output === 'featureMaps' ? 'any' : 'fp32', value, output),
    ])
    return { name, values: this.#values, ops: this.#ops, outputs: Object.fromEntries(returned) }
  }

  #add(op: Op, need: Need): void {
    const operands = operandsOf(op).map(({ operand, index }) => [
      operand.name,
      this.#as(need, index, op.name),
    ])
    this.#make(op.dst, this.#choices.kept[op.dst]!, dst => ({ ...op, ...Object.fromEntries(operands), dst }))
  }

  /** The index of `value` as `reader` needs it, converted if it is not there yet. */
  #as(need: Need, value: number, reader: string): number {
    const asMade = this.#choices.kept[value]!
    const kept = need === 'any' ? asMade : this.#choices.keptAs(need, value, reader)
    const known = this.#made[value]?.get(precisionOf(kept))
    if (known !== undefined) return known
    const src = this.#made[value]!.get(precisionOf(asMade))!
    const name = `${this.#choices.makers[value]!.name}.${precisionOf(kept)}`
    return this.#make(value, kept, dst => ({ kind: 'convert', name, src, dst }))
  }

  /** Adds the operation that makes the given plan's `value`, `kept` so; returns the new index. */
  #make(value: number, kept: Kept, op: (dst: number) => Op): number {
    const dst = this.#values.push({ ...this.given.values[value]!, ...kept } as PlanValue) - 1
    this.#ops.push(op(dst))
    this.#made[value] ??= new Map()
    this.#made[value].set(precisionOf(kept), dst)
    return dst
  }
}

/** Of 8-bit values there is only one scale, so the precision tells how a value is kept. */
const precisionOf = ({ precision = 'fp32' }: Kept) => precision
