// The table of operations: what each reads, what describes it, the rule for the shape of its result, and what it costs.
//
// Lowering, validation, costs, printing and export follow from a row, so a new operation is a type, a row and a layer.
// `core/ops.h` is the same table for C++; test/model/ops.test.ts holds the two equal.
import { leastStd, mostMean, mostStd } from './normalization.ts'
import type { Shape } from './value.ts'

interface OpBase {
  readonly name: string
  /** Indices of `Plan.values`. */
  readonly src: number
  readonly dst: number
}

export interface Window {
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
  readonly kind: 'globalAvgPool'
}

export interface LinearOp extends OpBase {
  readonly kind: 'linear'
}

/** Multiplies each channel of an image by a number of its own. */
export interface ChannelGateOp extends OpBase {
  readonly kind: 'channelGate'
  /** The value with the numbers, 1x1 and as many channels. */
  readonly gate: number
}

/** Keeps the same numbers in another precision. The plan of a network in float32 has none. */
export interface ConvertOp extends OpBase {
  readonly kind: 'convert'
}

/** Makes probabilities of logits: over all channels of a pixel, or of each by itself. */
export interface SoftmaxOp extends OpBase {
  readonly kind: 'softmax'
}
export interface SigmoidOp extends OpBase {
  readonly kind: 'sigmoid'
}

export type Op =
  | NormalizeOp
  | ConvOp
  | MaxPoolOp
  | AvgPoolOp
  | LinearOp
  | SoftmaxOp
  | SigmoidOp
  | ChannelGateOp
  | ConvertOp
export type OpKind = Op['kind']

/** Operations that a layer stands for as it is; what reads and describes the one does so with the other. */
export type LayerOp = MaxPoolOp | AvgPoolOp | LinearOp | ChannelGateOp

/** What shape an operand must have: any, 1x1, 1x1 with the channels of the result, or that of the result. */
export type OperandShape = 'any' | 'pixel' | 'resultPixel' | 'result'

export interface Operand {
  /** The member of the operation; where `optional` it may be null. */
  readonly name: string
  readonly shape: OperandShape
  readonly optional: boolean
  /** Stands before it in a plan's listing. */
  readonly sign?: string
}

export type Attribute =
  | { readonly name: string; readonly type: 'integer'; readonly least: number }
  | { readonly name: string; readonly type: 'flag' }
  /** One number per channel. */
  | { readonly name: string; readonly type: 'floats'; readonly least: number; readonly most: number }

/**
 * The height and width of the result: `free`, those of `src` (`source`), a pixel per window, the same with a pixel in every window
 * (`filledWindows`), or 1x1 (`pixel`).
 */
export type Extent = 'free' | 'source' | 'windows' | 'filledWindows' | 'pixel'

export interface OpRow<O extends Op> {
  readonly operands: readonly Operand[]
  readonly attributes: readonly Attribute[]
  readonly extent: Extent
  readonly channels: 'free' | 'source'
  /** Multiplies by weights and adds a bias. */
  readonly weighted?: boolean
  /** Makes probabilities of logits. */
  readonly activation?: boolean
  /** The operator of ONNX that takes the same operands and windows; export/onnx.ts has code for the others. */
  readonly onnx?: string
  /** Two for each multiply-add of a convolution or linear layer; one for each other arithmetic operation. */
  readonly flops: (
    op: O,
    sizes: { readonly src: Shape; readonly srcElements: number; readonly dstElements: number },
  ) => number
}

const src: Operand = { name: 'src', shape: 'any', optional: false }
const kernel: Attribute = { name: 'kernel', type: 'integer', least: 1 }
const stride: Attribute = { name: 'stride', type: 'integer', least: 1 }
const padding: Attribute = { name: 'padding', type: 'integer', least: 0 }
const window = [kernel, stride, padding]

const activation: OpRow<Op> = {
  operands: [src],
  attributes: [],
  extent: 'source',
  channels: 'source',
  activation: true,
  flops: (_, { dstElements }) => 4 * dstElements,
}

export const ops: { readonly [Kind in OpKind]: OpRow<Extract<Op, { kind: Kind }>> } = {
  normalize: {
    operands: [],
    attributes: [
      { name: 'mean', type: 'floats', least: -mostMean, most: mostMean },
      { name: 'std', type: 'floats', least: leastStd, most: mostStd },
    ],
    extent: 'free',
    channels: 'free',
    flops: (_, { dstElements }) => 2 * dstElements,
  },
  conv: {
    operands: [src, { name: 'residual', shape: 'result', optional: true, sign: '+' }],
    attributes: [...window, { name: 'groups', type: 'integer', least: 1 }, { name: 'relu', type: 'flag' }],
    extent: 'windows',
    channels: 'free',
    weighted: true,
    flops: ({ kernel, groups, residual, relu }, { src, dstElements }) =>
      dstElements *
      (2 * ((kernel * kernel * src.channels) / groups) + 1 + (residual === null ? 0 : 1) + (relu ? 1 : 0)),
  },
  maxPool: {
    operands: [src],
    attributes: window,
    extent: 'filledWindows',
    channels: 'source',
    onnx: 'MaxPool',
    flops: ({ kernel }, { dstElements }) => dstElements * (kernel * kernel - 1),
  },
  globalAvgPool: {
    operands: [src],
    attributes: [],
    extent: 'pixel',
    channels: 'source',
    onnx: 'GlobalAveragePool',
    flops: (_, { srcElements }) => srcElements,
  },
  linear: {
    operands: [{ ...src, shape: 'pixel' }],
    attributes: [],
    extent: 'pixel',
    channels: 'free',
    weighted: true,
    flops: (_, { srcElements, dstElements }) => dstElements * (2 * srcElements + 1),
  },
  softmax: activation,
  sigmoid: activation,
  channelGate: {
    operands: [src, { name: 'gate', shape: 'resultPixel', optional: false, sign: '*' }],
    attributes: [],
    extent: 'source',
    channels: 'source',
    onnx: 'Mul',
    flops: (_, { dstElements }) => dstElements,
  },
  convert: {
    operands: [src],
    attributes: [],
    extent: 'source',
    channels: 'source',
    onnx: 'Identity', // its tensors are all float32
    flops: () => 0,
  },
}

/** The row of an operation, whatever it is. */
export function rowOf({ kind }: { readonly kind: OpKind }): OpRow<Op> {
  return ops[kind] as OpRow<Op>
}

/** The operands that `of`, an operation or its layer, has, and what they refer to: values, or layers. */
export function operandsOf(of: {
  readonly kind: OpKind
}): { readonly operand: Operand; readonly index: number }[] {
  const members = of as { readonly [member: string]: unknown }
  return rowOf(of).operands.flatMap(operand => {
    const index = members[operand.name]
    return typeof index === 'number' ? [{ operand, index }] : []
  })
}

/** Height and width of the result, of which windows that do not fit leave nothing or less. */
export function resultExtent(
  op: { readonly kind: OpKind } & Partial<Window>,
  src: Shape,
): Pick<Shape, 'height' | 'width'> {
  const { extent } = rowOf(op)
  if (extent === 'pixel') return { height: 1, width: 1 }
  if (extent !== 'windows' && extent !== 'filledWindows') return { height: src.height, width: src.width }
  const { kernel, stride, padding } = op as Window
  const windows = (size: number) => Math.floor((size + 2 * padding - kernel) / stride) + 1
  return { height: windows(src.height), width: windows(src.width) }
}

/** The shape that an operand of `given` shape must have. */
export function dueShape(operand: Operand, given: Shape, result: Shape): Shape {
  switch (operand.shape) {
    case 'any':
      return given
    case 'pixel':
      return { height: 1, width: 1, channels: given.channels }
    case 'resultPixel':
      return { height: 1, width: 1, channels: result.channels }
    case 'result':
      return result
  }
}
