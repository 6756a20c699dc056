// The plan: fused operations over values of known shape. C++ reads this very object.
import type { Activation } from './activation.ts'
import { type Op, operandsOf, rowOf } from './ops.ts'
import { elements, type PlanValue, type Shape, valueBytes, valuePrecisions } from './value.ts'

export type { ConvOp, LinearOp, Op } from './ops.ts'
export { elements, type PlanValue, type Shape, type ValuePrecision } from './value.ts'

/** What a run can return. `core::kOutputNames` is its twin. */
export const outputNames = ['logits', 'probabilities', 'features', 'featureMaps'] as const
export type OutputName = (typeof outputNames)[number]

export interface Plan {
  readonly name: string
  readonly values: readonly PlanValue[]
  readonly ops: readonly Op[]
  /** Without an activation the probabilities are the logits. */
  readonly outputs: { readonly logits: number; readonly probabilities: number } & {
    readonly [name in OutputName]?: number
  }
}

/** What an operation takes, per image. */
export interface OpCost {
  /** Two for each multiply-add of a convolution or linear layer; one for each other arithmetic operation. */
  readonly flops: number
  /** Read once whatever the batch. */
  readonly weightBytes: number
  /** Every input read and the output written once. */
  readonly activationBytes: number
}

const bytesPerFloat = 4

/** The input of the plan, `[H,W,C]`. */
export function inputShape(plan: Plan): Shape {
  return plan.values[plan.ops[0]!.dst]!
}

/** What makes the plan's probabilities of its logits. */
export function activationOf({ ops, outputs }: Plan): Activation {
  const last = ops.find(({ dst }) => dst === outputs.probabilities)
  return last?.kind === 'softmax' || last?.kind === 'sigmoid' ? last.kind : 'none'
}

/**
 * What an operation takes. Values that are kept as float32 count as `bytesPerNumber` (fp16 takes 2), and so do the weights they
 * are multiplied by; logits, probabilities and biases are float32 whatever the precision. Other weights are kept like the value
 * they are multiplied by, those of 8 bits with a float32 scale per output channel.
 */
export function opCost(plan: Plan, op: Op, bytesPerNumber: number = bytesPerFloat): OpCost {
  const dst = plan.values[op.dst]!
  const src = plan.values[op.kind === 'normalize' ? op.dst : op.src]!
  const sizes = { src, srcElements: elements(src), dstElements: elements(dst) }
  const { logits, probabilities } = plan.outputs
  const bytesOf = (index: number) => {
    const value = plan.values[index]!
    const isKept = (value.precision ?? 'fp32') !== 'fp32' || index === logits || index === probabilities
    return isKept ? valueBytes(value) : elements(value) * bytesPerNumber
  }
  const inputBytes = op.kind === 'normalize' ? elements(dst) : 0 // the session's input, of bytes
  const read = operandsOf(op).reduce((bytes, { index }) => bytes + bytesOf(index), inputBytes)
  const [kernel, groups] = op.kind === 'conv' ? [op.kernel, op.groups] : [1, 1]
  const depth = (kernel * kernel * src.channels) / groups
  const { bytes, scaled } = valuePrecisions[src.precision ?? 'fp32']
  const weightBytes = (src.precision ?? 'fp32') === 'fp32' ? bytesPerNumber : bytes
  const perChannel = depth * weightBytes + (scaled ? 2 : 1) * bytesPerFloat
  return {
    flops: rowOf(op).flops(op, sizes),
    weightBytes: rowOf(op).weighted ? dst.channels * perChannel : 0,
    activationBytes: read + bytesOf(op.dst),
  }
}

/** The sums over all operations; `bytesPerNumber` as of {@link opCost}. */
export function planCost(plan: Plan, bytesPerNumber: number = bytesPerFloat): OpCost {
  const total = { flops: 0, weightBytes: 0, activationBytes: 0 }
  for (const op of plan.ops) {
    const cost = opCost(plan, op, bytesPerNumber)
    total.flops += cost.flops
    total.weightBytes += cost.weightBytes
    total.activationBytes += cost.activationBytes
  }
  return total
}
