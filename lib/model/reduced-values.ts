// What each operation of a plan in fewer bits computes in, and how it keeps the value it makes.
//
// An operation computes in the precision of what it reads. So what each convolution and linear operation computes in decides
// everything else: a value is kept as what reads it needs, if the operation that makes it can do that.
import { ResidualError } from '../errors.ts'
import { type Op, operandsOf, rowOf } from './ops.ts'
import type { Plan } from './plan.ts'
import type { Quantization, QuantizedValue } from './quantization.ts'
import type { Kept } from './value.ts'

export type Reduction =
  | { readonly precision: 'bf16' }
  | {
      readonly precision: 'int8'
      readonly quantization: Quantization
      /** Whether bf16 is worth it on this machine: without it, what the quantization keeps in bf16 is computed in fp32. */
      readonly bf16: boolean
    }

/** What an operation needs its operands in; `any` if it takes them as they are. */
export type Need = 'fp32' | 'bf16' | 'int8' | 'any'

/** The choices for a plan in float32. All indices are that plan's. */
export class ReducedValues {
  /** By operation. */
  readonly needs: readonly Need[]
  /** By value: how the operation that makes it keeps it. */
  readonly kept: readonly Kept[]
  /** By value: the operation that makes it. */
  readonly makers: readonly Op[]
  /** By value: how it is read in int8, if it can be. */
  readonly #quantized: readonly (QuantizedValue | undefined)[]
  /** By value: the operations that read it. */
  readonly #readers: readonly (readonly number[])[]
  /** The values that are returned as float32. */
  readonly #floats: ReadonlySet<number>
  readonly #image: number
  readonly #outputs: ReadonlySet<number>

  /** @throws ResidualError CHECKPOINT_MISMATCH for a quantization that is not of this plan */
  constructor(
    private readonly plan: Plan,
    private readonly reduction: Reduction,
  ) {
    const { ops, outputs } = plan
    const { featureMaps: _, ...floats } = outputs
    this.#floats = new Set(Object.values(floats))
    this.#outputs = new Set(Object.values(outputs))
    this.#image = ops[0]!.dst
    this.makers = byValue(plan, op => op)
    this.#readers = readersOf(plan)
    if (reduction.precision === 'int8') checkQuantization(plan, reduction.quantization)
    this.#quantized = this.#quantizedValues()
    const needs = ops.map(op => this.#computesIn(op))
    this.needs = needs
    this.#settlePools(needs)
    if (this.#isBytes(this.#image) && !this.#readsBytes()) this.#readFloats(needs)
    const kept: Kept[] = []
    for (const [i, op] of ops.entries()) kept[op.dst] = this.#keptBy(op, needs[i]!, kept)
    this.kept = kept
  }

  /** Whether the image is kept as bytes: convolutions in int8, which can normalise it by their weights, alone read it. */
  #readsBytes(): boolean {
    if (!this.#isBytes(this.#image) || this.#outputs.has(this.#image)) return false
    return this.#readers[this.#image]!.every(i => {
      const op = this.plan.ops[i]!
      return op.kind === 'conv' && op.residual !== this.#image && this.needs[i] === 'int8'
    })
  }

  /**
   * How `value` is kept where `reader` needs it so.
   *
   * @throws ResidualError CHECKPOINT_MISMATCH if it is needed in int8 and has no scale
   */
  keptAs(need: Exclude<Need, 'any'>, value: number, reader: string): Kept {
    if (need === 'fp32') return {}
    if (need === 'bf16') return { precision: 'bf16' }
    const quantized = this.#quantized[value]
    if (!quantized)
      throw mismatch(`has no scale for '${this.makers[value]!.name}', which '${reader}' reads in int8`)
    return { precision: quantized.type, scale: quantized.scale }
  }

  /** A max pool keeps the scale of what it reads, unless that is the image. */
  #quantizedValues(): (QuantizedValue | undefined)[] {
    const result: (QuantizedValue | undefined)[] = []
    if (this.reduction.precision !== 'int8') return result
    const values = new Map(Object.entries(this.reduction.quantization.values))
    for (const op of this.plan.ops) {
      const own = values.get(op.name)
      result[op.dst] = own
      if (op.kind !== 'maxPool') continue
      const pooled = result[op.src]
      if (pooled && !isBytes(this.makers[op.src]!, pooled)) result[op.dst] = pooled
    }
    return result
  }

  #isBytes(value: number): boolean {
    return isBytes(this.makers[value]!, this.#quantized[value])
  }

  #computesIn(op: Op): Need {
    if (op.kind === 'globalAvgPool' || op.kind === 'maxPool' || op.kind === 'normalize') return 'any'
    if (!rowOf(op).weighted) return 'fp32'
    if (this.reduction.precision === 'bf16') return 'bf16'
    const { kept } = this.reduction.quantization
    return Object.hasOwn(kept, op.name) ? this.#floatOf(kept[op.name]!) : 'int8'
  }

  #floatOf(kept: 'bf16' | 'fp32'): 'bf16' | 'fp32' {
    return this.reduction.precision === 'int8' && !this.reduction.bf16 ? 'fp32' : kept
  }

  /** A max pool takes what its readers need, in as few bits as any of them. */
  #settlePools(needs: Need[]): void {
    for (const [i, op] of [...this.plan.ops.entries()].reverse()) {
      if (op.kind !== 'maxPool') continue
      const its = this.#needsOf(op.dst)
      const canBeInt8 = this.#quantized[op.src] !== undefined && !this.#isBytes(op.src)
      if (its.has('int8') && canBeInt8) needs[i] = 'int8'
      else if (its.has('bf16')) needs[i] = 'bf16'
      else if (its.has('int8') || its.has('fp32')) needs[i] = 'fp32'
    }
  }

  /** Something needs the image normalised, so nothing reads it in int8. */
  #readFloats(needs: Need[]): void {
    for (const i of this.#readers[this.#image]!) if (needs[i] === 'int8') needs[i] = this.#floatOf('bf16')
  }

  /** What the readers of a value need, outputs in float32 included. */
  #needsOf(value: number): ReadonlySet<Need> {
    const needs = this.#readers[value]!.map(i => this.needs[i]!)
    return new Set(this.#floats.has(value) ? [...needs, 'fp32'] : needs)
  }

  #keptBy(op: Op, need: Need, kept: readonly Kept[]): Kept {
    if (op.kind === 'maxPool') return need === 'any' ? kept[op.src]! : this.keptAs(need, op.src, op.name)
    const needs = this.#needsOf(op.dst)
    const takenAsItIs = [...needs].every(each => each === 'any')
    if (op.kind === 'normalize') {
      if (this.#readsBytes()) return { precision: 'uint8', scale: 1 }
      return needs.has('bf16') && !needs.has('fp32') && !needs.has('int8') ? { precision: 'bf16' } : {}
    }
    const reduces = need === 'bf16' || (need === 'int8' && this.#quantized[op.dst] !== undefined)
    if (!rowOf(op).weighted || !reduces || this.#floats.has(op.dst)) return {}
    return takenAsItIs || needs.has(need) ? this.keptAs(need, op.dst, op.name) : {}
  }
}

/** Whether it is the image's bytes that are read in int8. */
function isBytes(maker: Op, quantized: QuantizedValue | undefined): boolean {
  return maker.kind === 'normalize' && quantized?.type === 'uint8'
}

function byValue<T>({ ops }: Plan, of: (op: Op) => T): T[] {
  const result: T[] = []
  for (const op of ops) result[op.dst] = of(op)
  return result
}

function readersOf(plan: Plan): number[][] {
  const readers = byValue(plan, (): number[] => [])
  for (const [i, op] of plan.ops.entries()) for (const { index } of operandsOf(op)) readers[index]!.push(i)
  return readers
}

/** Refuses a quantization that names what the plan does not have, or keeps what it cannot. */
function checkQuantization({ ops }: Plan, { values, kept }: Quantization): void {
  const byName = new Map(ops.map(op => [op.name, op]))
  for (const [name, { type, scale }] of Object.entries(values)) {
    const op = byName.get(name)
    if (!op) throw mismatch(`has a scale for '${name}', which the network does not have`)
    if (type === 'uint8' && rowOf(op).weighted && !(op.kind === 'conv' && op.relu))
      throw mismatch(`keeps '${name}' as uint8, which has no negative numbers, though no ReLU follows`)
    if (type === 'uint8' && op.kind === 'normalize' && scale !== 1)
      throw mismatch(`gives the image's bytes a scale of ${scale} instead of 1`)
  }
  for (const name of Object.keys(kept)) {
    const op = byName.get(name)
    if (!op) throw mismatch(`keeps '${name}', which the network does not have`)
    if (!rowOf(op).weighted) throw mismatch(`keeps '${name}', which has no weights`)
  }
}

function mismatch(problem: string): ResidualError {
  return new ResidualError(
    'CHECKPOINT_MISMATCH',
    `The quantization does not fit the network: it ${problem}. Quantize the model again: residual quantize.`,
  )
}
