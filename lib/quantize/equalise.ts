// Equalisation: channels that are on different scales are brought to similar ones, which changes nothing but the rounding.
//
// A convolution's output channel may be divided by any positive factor if whatever reads it multiplies its weights by that: ReLU,
// pools and sums pass it on. One scale for all channels of a value then suits each of them. (Nagel et al.,
// https://arxiv.org/abs/1906.04721; here with magnitudes of values that were seen.)
import { Pauses } from '../base/pauses.ts'
import { type Op, operandsOf, rowOf } from '../model/ops.ts'
import type { Plan } from '../model/plan.ts'
import type { Observation } from '../runtime/native.ts'
import { takesWeights, type WeightedOp } from '../weights/op-weights.ts'
import type { FoldedWeights } from './trial.ts'

/** The most that a channel's scale changes, in either direction. */
const mostFactor = 64

/** The weights of the network whose channels are equalised, by operation; `seen` by operation of the plan. */
export async function equalised(
  plan: Plan,
  folded: ReadonlyMap<string, FoldedWeights>,
  seen: readonly Observation[],
  pauses = new Pauses(),
): Promise<Map<string, FoldedWeights>> {
  const groups = new ChannelGroups(plan)
  const factors = await factorsOf(plan, groups, folded, seen, pauses)
  const result = new Map<string, FoldedWeights>()
  for (const op of plan.ops.filter(takesWeights)) {
    const outputs = factors.get(groups.of(op.dst))
    const inputs = factors.get(groups.of(op.src))
    result.set(op.name, await scaled(op, folded.get(op.name)!, { outputs, inputs }, pauses))
  }
  return result
}

/** Values whose channels have the same factors. */
class ChannelGroups {
  readonly #parents: number[]
  readonly #fixed = new Set<number>()

  constructor(plan: Plan) {
    this.#parents = plan.values.map((_, value) => value)
    for (const op of plan.ops) this.#link(op)
    for (const value of Object.values(plan.outputs)) this.#fixed.add(this.of(value))
    for (const op of plan.ops) if (!passesFactors(op)) this.#fixed.add(this.of(op.dst))
  }

  of(value: number): number {
    let root = value
    while (this.#parents[root] !== root) root = this.#parents[root]!
    return root
  }

  /** Whether the channels stay as they are: what a caller sees, and what an operation reads that no factor passes. */
  isFixed(group: number): boolean {
    return this.#fixed.has(group)
  }

  /** An operation hands on the factors of what it reads; a weighted one only those of what it adds. */
  #link(op: Op): void {
    const isWeighted = rowOf(op).weighted
    for (const { operand, index } of operandsOf(op))
      if (!(isWeighted && operand.name === 'src')) this.#parents[this.of(index)] = this.of(op.dst)
  }
}

/** Whether each channel of the result may have a factor of its own. */
const passesFactors = ({ kind }: Op) =>
  kind === 'conv' || kind === 'linear' || kind === 'maxPool' || kind === 'globalAvgPool'

/** By group that may have any: what each of its channels is divided by. */
async function factorsOf(
  plan: Plan,
  groups: ChannelGroups,
  folded: ReadonlyMap<string, FoldedWeights>,
  seen: readonly Observation[],
  pauses: Pauses,
): Promise<Map<number, Float64Array>> {
  const squares = new Map<number, Float64Array>() // the largest mean squares of a group's values
  const weights = new Map<number, Float64Array>() // how much what reads a channel depends on it
  for (const [i, op] of plan.ops.entries()) {
    const { pixels, channelSquares } = seen[i]!
    const own = channelSquares.map(sum => sum / Math.max(pixels, 1))
    const its = made(squares, groups.of(op.dst), own.length)
    for (const [c, square] of own.entries()) its[c] = Math.max(its[c]!, square)
    if (!takesWeights(op)) continue
    const sums = made(weights, groups.of(op.src), plan.values[op.src]!.channels)
    await addWeights(sums, op, folded.get(op.name)!, own, pauses)
  }
  // With these a channel's values are as large, compared with others, as the weights that read it: where training has shrunk
  // weights that matter little there is next to nothing to do.
  const factors = new Map<number, Float64Array>()
  for (const [group, its] of squares) {
    const read = weights.get(group)
    if (!read || groups.isFixed(group)) continue
    factors.set(group, levelled(its, read))
  }
  return factors
}

function made(map: Map<number, Float64Array>, key: number, length: number): Float64Array {
  const its = map.get(key) ?? new Float64Array(length)
  map.set(key, its)
  return its
}

/**
 * Factors around 1, of mean squares and squares of weights. A channel that is always zero gets weights as large as usual: they
 * would decide how finely the others are rounded.
 */
function levelled(squares: Float64Array, weights: Float64Array): Float64Array {
  const factors = squares.map((square, c) => (square / weights[c]!) ** 0.25)
  const usable = [...factors.keys()].filter(c => factors[c]! > 0 && Number.isFinite(factors[c]!))
  const meanOf = (of: (c: number) => number) =>
    Math.exp(usable.reduce((sum, c) => sum + Math.log(of(c)), 0) / Math.max(usable.length, 1))
  const [usual, usualWeight] = [meanOf(c => factors[c]!), meanOf(c => factors[c]! * Math.sqrt(weights[c]!))]
  return factors.map((factor, c) => {
    const its = factor > 0 ? factor : usualWeight / Math.sqrt(weights[c]!)
    return Number.isFinite(its) ? Math.min(Math.max(its / usual, 1 / mostFactor), mostFactor) : 1
  })
}

/** Weights of a window that an output channel gives to an input channel. */
interface Window {
  readonly output: number
  readonly input: number
  /** Where they lie among all weights. */
  readonly begin: number
  readonly end: number
}

/** Calls `work` for every window of an operation's weights. */
async function eachWindow(
  op: WeightedOp,
  { weight, bias }: FoldedWeights,
  pauses: Pauses,
  work: (window: Window) => void,
): Promise<void> {
  const [taps, groups] = op.kind === 'conv' ? [op.kernel ** 2, op.groups] : [1, 1]
  const [inputs, perGroup] = [weight.length / bias.length / taps, bias.length / groups]
  for (let output = 0, begin = 0; output < bias.length; output++) {
    const first = Math.floor(output / perGroup) * inputs // of the group's channels
    for (let c = 0; c < inputs; c++, begin += taps)
      work({ output, input: first + c, begin, end: begin + taps })
    await pauses.take()
  }
}

/** Adds the squares of the weights of each input channel, compared with the mean squares of what they make. */
function addWeights(
  sums: Float64Array,
  op: WeightedOp,
  folded: FoldedWeights,
  made: Float64Array,
  pauses: Pauses,
): Promise<void> {
  return eachWindow(op, folded, pauses, ({ output, input, begin, end }) => {
    const square = made[output]!
    if (!(square > 0)) return
    let sum = 0
    for (let i = begin; i < end; i++) sum += folded.weight[i]! ** 2
    sums[input]! += sum / square
  })
}

/** The factors of an operation's channels; without any, they stay as they are. */
interface OpFactors {
  readonly outputs: Float64Array | undefined
  readonly inputs: Float64Array | undefined
}

/** Outputs divided by their factors, weights multiplied by those of their inputs. */
async function scaled(
  op: WeightedOp,
  folded: FoldedWeights,
  { outputs, inputs }: OpFactors,
  pauses: Pauses,
): Promise<FoldedWeights> {
  if (!outputs && !inputs) return folded
  const weight = new Float32Array(folded.weight.length)
  await eachWindow(op, folded, pauses, ({ output, input, begin, end }) => {
    const [divisor, factor] = [outputs?.[output] ?? 1, inputs?.[input] ?? 1]
    for (let i = begin; i < end; i++) weight[i] = (folded.weight[i]! * factor) / divisor
  })
  return { weight, bias: folded.bias.map((b, k) => b / (outputs?.[k] ?? 1)) }
}
