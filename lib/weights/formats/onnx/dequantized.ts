// Quantized tensors in ONNX files: integers, with a scale and a zero point for all of them or for each index of one dimension.
import { product } from '../../../model/product.ts'
import { allocateFloats, checkFinite } from '../../tensors/float-tensor.ts'
import { type Integers, type IntegerType, isIntegerType, readIntegers } from './integers.ts'
import { type OnnxTensor, readOnnxTensor } from './tensor.ts'
import type { Wire } from './wire.ts'

/** One scale, or one for each index of a dimension; zero points likewise. */
export interface Scales {
  readonly scale: Float32Array
  readonly zeroPoint: Integers
}

const ranges = { I8: [-128, 127], U8: [0, 255] } as const

/**
 * The numbers of a tensor, or those that a quantized one stands for, in order; the caller owns them, or they are in `into`.
 *
 * @throws ResidualError what {@link readOnnxTensor} throws
 */
export async function readNumbers(
  wire: Wire,
  tensor: OnnxTensor,
  into?: Float32Array,
): Promise<Float32Array> {
  if (!tensor.dequantized) return await readOnnxTensor(wire, tensor, into)
  const { scale, zeroPoint } = await readScales(wire, tensor)
  const integers = await readQuantized(wire, tensor)
  const result = allocateFloats(tensor.name, tensor.length, wire.file.path, into)
  const indexAt = indexer(tensor, scale.length)
  for (let i = 0; i < result.length; i++) {
    const c = indexAt(i)
    result[i] = (integers[i]! - zeroPoint[c]!) * scale[c]!
  }
  return checkFinite(tensor.name, result, wire.file.path)
}

/** The integers of a quantized tensor as they are stored, or as the file rounds them. */
export async function readQuantized(wire: Wire, tensor: OnnxTensor): Promise<Integers> {
  const { rounds } = tensor.dequantized!
  if (!rounds) return await readIntegers(wire, tensor)
  const { dequantized: _, ...plain } = tensor
  const floats = await readOnnxTensor(wire, plain)
  const { scale, zeroPoint } = await readScales(wire, tensor)
  const [least, most] = ranges[rounds]
  const indexAt = indexer(tensor, scale.length)
  const result = rounds === 'I8' ? new Int8Array(floats.length) : new Uint8Array(floats.length)
  for (let i = 0; i < result.length; i++) {
    const c = indexAt(i)
    const rounded = roundHalfEven(Math.fround(floats[i]! / scale[c]!)) + zeroPoint[c]!
    result[i] = Math.min(Math.max(rounded, least), most)
  }
  return result
}

/**
 * The scales and zero points of a quantized tensor.
 *
 * @throws ResidualError CHECKPOINT_INVALID for scales that are not positive, and for those that do not fit the tensor
 */
export async function readScales(wire: Wire, tensor: OnnxTensor): Promise<Scales> {
  const { scale: stored, zeroPoint: zero, axis } = tensor.dequantized!
  const scale = await readOnnxTensor(wire, stored)
  const bad = scale.find(value => !(value > 0))
  const fail = (problem: string) => wire.invalid(`the scale of '${tensor.name}' ${problem}`)
  if (bad !== undefined) throw fail(`is ${bad}`)
  const due = scale.length === 1 ? 1 : (tensor.dims[axis] ?? 0)
  if (scale.length !== due || stored.dims.length > 1)
    throw fail(`has the shape [${stored.dims}], for dimension ${axis} of [${tensor.dims}]`)
  if (!zero) return { scale, zeroPoint: new Int8Array(scale.length) }
  if (zero.length !== scale.length)
    throw wire.invalid(`'${tensor.name}' has ${scale.length} scales and ${zero.length} zero points`)
  return { scale, zeroPoint: await readIntegers(wire, zero) }
}

/** The type of a quantized tensor's integers. */
export function integerType({ dtype, dequantized }: OnnxTensor): IntegerType | undefined {
  if (dequantized?.rounds) return dequantized.rounds
  return dequantized && isIntegerType(dtype) ? dtype : undefined
}

/** The index along the dimension with several scales, of the tensor's number `i`. */
function indexer({ dims, dequantized }: OnnxTensor, count: number): (i: number) => number {
  const inner = product(dims.slice(dequantized!.axis + 1))
  return count === 1 ? () => 0 : i => Math.floor(i / inner) % count
}

function roundHalfEven(value: number): number {
  const rounded = Math.round(value)
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded
}
