// The plan: fused operations over values of known shape. C++ reads this very object.
import type { Activation } from './activation.ts'

/** One image's worth of a value, `[height, width, channels]`; a batch adds N in front. */
export interface Shape {
  readonly height: number
  readonly width: number
  readonly channels: number
}

/** What a run can return. `core::kOutputNames` is its twin. */
export const outputNames = ['logits', 'probabilities', 'features', 'featureMaps'] as const
export type OutputName = (typeof outputNames)[number]

interface OpBase {
  readonly name: string
  /** Indices of {@link Plan.values}. */
  readonly src: number
  readonly dst: number
}

interface Window {
  readonly kernel: number
  readonly stride: number
  readonly padding: number
}

/** `(byte / 255 - mean) / std` per channel: always and only operation 0. It has no `src`: that is the input. */
export interface NormalizeOp extends Omit<OpBase, 'src'> {
  readonly kind: 'normalize'
  readonly mean: readonly number[]
  readonly std: readonly number[]
}

/** `relu(conv(src) + bias + residual)`, of which all but the convolution may be absent. */
export interface ConvOp extends OpBase, Window {
  readonly kind: 'conv'
  readonly groups: number
  /** The value added before relu, of the shape of `dst`. */
  readonly residual: number | null
  readonly relu: boolean
  /** Its weights are those of a 1x1 convolution, spread evenly over the window: a mean over each window is taken before that. */
  readonly averaged?: true
  /** The layer whose weights these are; null: each channel passes as it is (a layer no convolution could absorb). */
  readonly convName: string | null
  /** The batch normalisation to fold into the weights. */
  readonly batchNorm: { readonly name: string; readonly epsilon: number } | null
}

export interface MaxPoolOp extends OpBase, Window {
  readonly kind: 'maxPool'
}

/** The mean over all pixels. */
export interface AvgPoolOp extends OpBase {
  readonly kind: 'avgPool'
}

export interface LinearOp extends OpBase {
  readonly kind: 'linear'
}

/** Makes probabilities of logits: over all channels of a pixel, or of each by itself. */
export interface ActivationOp extends OpBase {
  readonly kind: 'softmax' | 'sigmoid'
}

export type Op = NormalizeOp | ConvOp | MaxPoolOp | AvgPoolOp | LinearOp | ActivationOp

export interface Plan {
  readonly name: string
  readonly values: readonly Shape[]
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

export function elements(shape: Shape): number {
  return shape.height * shape.width * shape.channels
}

/** Activations and weights are of `bytesPerNumber` (fp16 takes 2), logits, probabilities and biases of float32. */
export function opCost(plan: Plan, op: Op, bytesPerNumber: number = bytesPerFloat): OpCost {
  const dst = elements(plan.values[op.dst]!)
  if (op.kind === 'normalize') {
    return { flops: 2 * dst, weightBytes: 0, activationBytes: dst + dst * bytesPerNumber } // one byte in, one number out
  }
  const srcShape = plan.values[op.src]!
  const src = elements(srcShape)
  const activationBytes = (src + dst) * bytesPerNumber
  switch (op.kind) {
    case 'conv': {
      const depth = (op.kernel * op.kernel * srcShape.channels) / op.groups
      const channels = plan.values[op.dst]!.channels
      const epilogue = 1 + (op.residual === null ? 0 : 1) + (op.relu ? 1 : 0)
      return {
        flops: dst * (2 * depth + epilogue),
        weightBytes: channels * (depth * bytesPerNumber + bytesPerFloat),
        activationBytes: activationBytes + (op.residual === null ? 0 : dst * bytesPerNumber),
      }
    }
    case 'linear':
      return {
        flops: dst * (2 * src + 1),
        weightBytes: dst * (src * bytesPerNumber + bytesPerFloat),
        activationBytes: src * bytesPerNumber + dst * bytesPerFloat,
      }
    case 'maxPool':
      return { flops: dst * (op.kernel * op.kernel - 1), weightBytes: 0, activationBytes }
    case 'avgPool':
      return { flops: src, weightBytes: 0, activationBytes }
    case 'softmax':
    case 'sigmoid':
      return { flops: 4 * dst, weightBytes: 0, activationBytes: (src + dst) * bytesPerFloat }
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
