// A convolution in an ONNX graph with its batch norm, if that was not folded, and its stride.
import type { OnnxGraph, Reader } from './graph.ts'
import { described, type OnnxNode } from './model.ts'
import type { ActivationRange } from './scaling.ts'
import type { OnnxTensor } from './tensor.ts'

/** The tensors of a batch normalisation. */
export interface Norm {
  readonly gamma: OnnxTensor
  readonly beta: OnnxTensor
  readonly mean: OnnxTensor
  readonly variance: OnnxTensor
  readonly epsilon: number
}

/** A convolution with its batch norm. */
export interface ConvNorm {
  readonly node: OnnxNode
  /** `[K,C/groups,R,S]` */
  readonly weight: OnnxTensor
  readonly bias: OnnxTensor | undefined
  /** Absent if it was folded into the convolution, which then has a bias. */
  readonly norm: Norm | undefined
  readonly kernel: number
  readonly stride: number
  /** Whether it is a 1x1 convolution of the means of 2x2 pixels: its weights must be the same for all four. */
  readonly averaged: boolean
  /** Of what it reads, if that is quantized. */
  readonly range: ActivationRange | undefined
  /** Its output. */
  readonly value: string
}

const defaultEpsilon = 1e-5 // ONNX's

/**
 * @param mayAverage whether it may be one of 2x2 of stride 2 that takes means
 * @throws ResidualError CHECKPOINT_INVALID for convolutions that no ResNet has
 */
export function convNormAt(
  graph: OnnxGraph,
  { node, input, pads, range }: Reader,
  mayAverage = false,
): ConvNorm {
  if (node.op !== 'Conv' || input !== 0)
    throw graph.refused(`it has ${described(node)} where a ResNet has a convolution`)
  const weight = tensorOf(graph, node, 1, 4)
  const [channels = 0, , rows = 0, columns = 0] = weight.dims
  const { kernel, stride } = window(graph, node, pads, [rows, columns], mayAverage)
  const averaged = kernel === 2
  const bias = node.inputs[2] ? tensorOf(graph, node, 2, 1, channels) : undefined
  const [next, ...others] = graph.readers(node.outputs[0]!)
  const conv = { node, weight, bias, kernel, stride, averaged, range }
  if (next?.node.op !== 'BatchNormalization') return { ...conv, norm: undefined, value: node.outputs[0]! }
  if (others.length > 0 || next.input !== 0)
    throw graph.refused(`the output of ${described(node)} has other readers besides its batch norm`)
  return { ...conv, norm: normOf(graph, next.node, channels), value: next.node.outputs[0]! }
}

function normOf(graph: OnnxGraph, node: OnnxNode, channels: number): Norm {
  const number = (name: string) => node.attributes.get(name)?.int
  if (number('training_mode') === 1 || number('is_test') === 0 || number('spatial') === 0)
    throw graph.refused(`${described(node)} is in training mode`)
  const tensor = (input: number) => tensorOf(graph, node, input, 1, channels)
  const epsilon = node.attributes.get('epsilon')?.float
  return {
    gamma: tensor(1),
    beta: tensor(2),
    mean: tensor(3),
    variance: tensor(4),
    // It was a float32: 1e-5, for example, reads as 9.999999747378752e-6.
    epsilon: epsilon === undefined ? defaultEpsilon : Number(epsilon.toPrecision(7)),
  }
}

/** The tensor of an input, with that many dimensions. */
export function tensorOf(
  graph: OnnxGraph,
  node: OnnxNode,
  input: number,
  rank: number,
  length?: number,
): OnnxTensor {
  const constant = graph.constant(node.inputs[input])
  if (!constant || constant.transposed)
    throw graph.refused(`input ${input} of ${described(node)} is not a tensor stored in the file`)
  const { tensor } = constant
  if (tensor.dims.length !== rank || (length !== undefined && tensor.length !== length))
    throw graph.refused(
      `input ${input} of ${described(node)} has the shape [${tensor.dims.join()}] instead of ${length === undefined ? `${rank} dimensions` : `[${length}]`}`,
    )
  return tensor
}

/**
 * Kernel and stride of a convolution or pool, which is square and padded by half its kernel on every side.
 *
 * @param mayHalve whether it may be 2x2 of stride 2 without padding, too
 */
export function window(
  graph: OnnxGraph,
  node: OnnxNode,
  added: readonly number[],
  kernels: readonly number[],
  mayHalve = false,
): { readonly kernel: number; readonly stride: number } {
  const ints = (name: string, otherwise: readonly number[]) => node.attributes.get(name)?.ints ?? otherwise
  const [kernel = 0] = kernels
  const strides = ints('strides', [1, 1])
  const [stride = 1] = strides
  const half = mayHalve && kernel === 2 && stride === 2 ? 0 : (kernel - 1) / 2
  const mode = node.attributes.get('auto_pad')?.text || 'NOTSET'
  // With a stride, SAME padding depends on the image's size and differs between the two sides.
  const same = mode.startsWith('SAME') && (stride === 1 || kernel === 1)
  const own = same ? [half, half, half, half] : mode === 'NOTSET' ? ints('pads', [0, 0, 0, 0]) : [0, 0, 0, 0]
  const total = own.map((size, i) => size + (added[i] ?? 0))
  const square = [kernels, strides, ints('kernel_shape', kernels)].every(
    each => each.length === 2 && each[0] === each[1],
  )
  const plain = ints('dilations', [1, 1]).every(n => n === 1) && !node.attributes.get('ceil_mode')?.int
  const matches = ints('kernel_shape', kernels)[0] === kernel
  if (!square || !plain || !matches || total.length !== 4 || total.some(size => size !== half))
    throw graph.refused(
      `${described(node)} has a window of ${kernels.join('x')} with strides [${strides.join()}] and padding [${total.join()}]` +
        `${plain ? '' : ', dilated or rounded up'}, which no ResNet has`,
    )
  return { kernel, stride }
}
