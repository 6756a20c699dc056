// What QuantizeLinear and DequantizeLinear nodes of an ONNX graph scale by, and the ranges of the activations they quantize.
import { described, type OnnxNode } from './model.ts'
import type { Dequantization, OnnxTensor } from './tensor.ts'

/** The constants of a graph, and its refusal. */
interface Constants {
  refused(reason: string): Error
  stored(name: string | undefined): OnnxTensor | undefined
  isZeros(name: string | undefined): boolean
}

/** What a node divides or multiplies by. */
export interface Scaling {
  /** Of floats, at least one. */
  readonly scale: OnnxTensor
  /** Zeros if absent. */
  readonly zeroPoint: OnnxTensor | undefined
  /** The type of the integers, as far as the node tells. */
  readonly type: string | undefined
  /** The dimension that the scales are for, from the end if negative. */
  readonly axis: number
}

/** The range of an activation: it is rounded to integers from `least` to `most`, which stand for `(integer - zeroPoint) * scale`. */
export interface ActivationRange {
  readonly scale: number
  readonly zeroPoint: number
  readonly least: number
  readonly most: number
}

/** The least number that an activation of this range can be. */
export const lowest = ({ scale, zeroPoint, least }: ActivationRange): number => (least - zeroPoint) * scale
/** The greatest. */
export const highest = ({ scale, zeroPoint, most }: ActivationRange): number => (most - zeroPoint) * scale

const limits: { readonly [type: string]: Pick<ActivationRange, 'least' | 'most'> } = {
  I8: { least: -128, most: 127 },
  U8: { least: 0, most: 255 },
  I16: { least: -32768, most: 32767 },
  U16: { least: 0, most: 65535 },
}

const floats = new Set(['F32', 'F16', 'BF16', 'F64'])
/** Of the attribute `output_dtype`; 0: none. */
const outputTypes: { readonly [type: number]: string | undefined } = { 0: undefined, 2: 'U8', 3: 'I8' }

/** @throws ResidualError CHECKPOINT_INVALID for scales that are not in the file, not floats, not positive, or for blocks */
export function scalingOf(graph: Constants, node: OnnxNode): Scaling {
  const number = (name: string) => node.attributes.get(name)?.int ?? 0
  const what = (input: number) => `input ${input} of ${described(node)}`
  const scale = graph.stored(node.inputs[1])
  if (!scale) throw graph.refused(`${what(1)}, its scale, is not a tensor stored in the file`)
  if (!floats.has(scale.dtype)) throw graph.refused(`${what(1)}, its scale, is ${scale.dtype}`)
  if (number('block_size') !== 0 || scale.dims.length > 1)
    throw graph.refused(`${described(node)} has scales for blocks; only those for channels are supported`)
  if (scale.length === 1 && !(scale.scalar! > 0 && Number.isFinite(scale.scalar)))
    throw graph.refused(`${described(node)} has the scale ${scale.scalar}`)
  const axis = node.attributes.get('axis')?.int ?? 1
  const stored = node.inputs[2] ? graph.stored(node.inputs[2]) : undefined
  if (stored) return { scale, zeroPoint: stored, type: stored.dtype, axis }
  const isDefault = !node.inputs[2]
  if (!isDefault && !(node.op === 'DequantizeLinear' && graph.isZeros(node.inputs[2])))
    throw graph.refused(`${what(2)}, its zero point, is not a tensor stored in the file`)
  const given = number('output_dtype')
  if (!Object.hasOwn(outputTypes, given))
    throw graph.refused(`${described(node)} quantizes to ONNX type ${given}`)
  const type = node.op === 'QuantizeLinear' ? (outputTypes[given] ?? 'U8') : undefined
  return { scale, zeroPoint: undefined, type, axis }
}

/** Whether what one node quantizes the other takes back. */
export function sameScaling(a: Scaling, b: Scaling): boolean {
  const zero = (tensor: OnnxTensor | undefined) => (tensor ? tensor.scalar : 0)
  return (
    (a.scale.name === b.scale.name || (a.scale.length === 1 && a.scale.scalar === b.scale.scalar)) &&
    (a.zeroPoint?.name === b.zeroPoint?.name ||
      (zero(a.zeroPoint) !== undefined && zero(a.zeroPoint) === zero(b.zeroPoint)))
  )
}

/**
 * The range of an activation that `node` quantizes.
 *
 * @throws ResidualError CHECKPOINT_INVALID for types of neither 8 nor 16 bits, and for several scales
 */
export function rangeOf(
  graph: Constants,
  node: OnnxNode,
  { scale, zeroPoint, type = '' }: Scaling,
): ActivationRange {
  const range = limits[type]
  if (!range) throw graph.refused(`${described(node)} quantizes to ${type}, neither to 8 nor to 16 bits`)
  if (scale.length !== 1 || (zeroPoint && zeroPoint.length !== 1))
    throw graph.refused(`${described(node)} has ${scale.length} scales for one activation`)
  return { scale: scale.scalar!, zeroPoint: zeroPoint ? zeroPoint.scalar! : 0, ...range }
}

/**
 * What the integers of `tensor`, which `node` dequantizes, stand for.
 *
 * @param turned whether the tensor is transposed before the node
 * @param rounds whether the file rounds the tensor to integers
 * @throws ResidualError CHECKPOINT_INVALID for types other than 8-bit ones and those of biases
 */
export function dequantizationOf(
  graph: Constants,
  node: OnnxNode,
  tensor: OnnxTensor,
  { scale, zeroPoint, type, axis: given }: Scaling,
  { turned, rounds }: { readonly turned: boolean; readonly rounds: boolean },
): Dequantization {
  const integers = rounds ? type : tensor.dtype
  const is8bit = integers === 'I8' || integers === 'U8'
  if (!is8bit && (rounds || integers !== 'I32'))
    throw graph.refused(`${described(node)} dequantizes ${integers}; only integers of 8 bits are supported`)
  if (zeroPoint && zeroPoint.dtype !== integers)
    throw graph.refused(`${described(node)} has a zero point of type ${zeroPoint.dtype} for ${integers}`)
  if (rounds && !floats.has(tensor.dtype)) throw graph.refused(`${described(node)} quantizes ${tensor.dtype}`)
  const [rank, count] = [tensor.dims.length, scale.length]
  const counted = given < 0 ? given + rank : given
  const axis = turned ? 1 - counted : counted
  if (count > 1 && tensor.dims[axis] !== count)
    throw graph.refused(
      `${described(node)} has ${count} scales for dimension ${given} of '${tensor.name}', [${tensor.dims.join()}]`,
    )
  if (zeroPoint && zeroPoint.length !== count)
    throw graph.refused(`${described(node)} has ${count} scales and ${zeroPoint.length} zero points`)
  return { scale, zeroPoint, axis, rounds: rounds && is8bit ? integers : undefined }
}
