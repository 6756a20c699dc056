// ONNX tensors: where their numbers are, in the file or in one next to it, in any of five fields, and how they are read.
import { type ByteSource, openCheckpointFile } from '../../checkpoint/checkpoint-file.ts'
import { readFloats } from '../../checkpoint/read-floats.ts'
import type { StoredTensor } from '../../checkpoint/stored-tensor.ts'
import { allocateFloats, checkFinite } from '../../tensors/float-tensor.ts'
import { isFloatType, storedBytes, toFloat32 } from '../../tensors/stored-type.ts'
import { siblingFile } from '../sibling-file.ts'
import { integerBytes, isIntegerType, readScalar, type TensorData } from './integers.ts'
import type { Field, Range, Wire } from './wire.ts'

/** Of TensorProto.DataType in https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3, as safetensors names them. */
const types: { readonly [type: number]: string } = {
  1: 'F32',
  2: 'U8',
  3: 'I8',
  4: 'U16',
  5: 'I16',
  6: 'I32',
  7: 'I64',
  9: 'BOOL',
  10: 'F16',
  11: 'F64',
  12: 'U32',
  13: 'U64',
  16: 'BF16',
  21: 'U4',
  22: 'I4',
}

const smallLength = 16 // of short integer lists such as paddings and axes
const maxExternalFiles = 64

/** A tensor as the file describes it. */
export interface OnnxTensor {
  readonly name: string
  readonly dims: readonly number[]
  readonly dtype: string
  readonly length: number
  readonly data: TensorData
  /** The integers of a short tensor. */
  readonly integers: readonly number[] | undefined
  /** The number of a tensor that has only one. */
  readonly scalar: number | undefined
  /** Present if its integers stand for other numbers. */
  readonly dequantized?: Dequantization
}

/** What a quantized tensor's integers stand for: `(integer - zero point) * scale`. */
export interface Dequantization {
  readonly scale: OnnxTensor
  /** Zeros if absent. */
  readonly zeroPoint: OnnxTensor | undefined
  /** The dimension of the tensor that the scales are for, if there are several. */
  readonly axis: number
  /** Set if the tensor itself has floats, which the file rounds to such integers. */
  readonly rounds: 'I8' | 'U8' | undefined
}

/** External files with the model's tensors, by name. */
export type ExternalFiles = Map<string, ByteSource>

/** @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID */
export async function parseTensor(wire: Wire, range: Range, externals: ExternalFiles): Promise<OnnxTensor> {
  const fields = await wire.fields(range)
  const all = (id: number) => fields.filter(field => field.id === id)
  const last = (id: number) => fields.findLast(field => field.id === id)
  const nameField = last(8)
  const name = nameField ? await wire.text(nameField) : ''
  const fail = (problem: string) => wire.invalid(`tensor '${name}' ${problem}`)
  const dims: number[] = []
  for (const field of all(1)) for (const size of await wire.numbers(field)) dims.push(size)
  let length = 1
  for (const size of dims) {
    length *= size
    if (!(size >= 0 && Number.isSafeInteger(length * 8)))
      throw fail(`has the shape [${dims.slice(0, 16).join()}]`)
  }
  const type = last(2)?.value ?? 0
  const dtype = types[type] ?? `ONNX type ${type}`
  const inside = (parts: readonly Field[], packedInts = false) => ({ file: wire.file, parts, packedInts })
  const raw = last(9)
  const ints = all(7)
  let data: OnnxTensor['data']
  if (last(14)?.value === 1) data = { ...(await external(wire, all(13), externals, fail)), packedInts: false }
  else if (raw) data = inside([raw])
  else if (dtype === 'F32') data = inside(all(4))
  else if (dtype === 'F64') data = inside(all(10))
  else data = inside(all(5), true)
  const size = isFloatType(dtype)
    ? storedBytes[dtype]
    : isIntegerType(dtype)
      ? integerBytes[dtype]
      : undefined
  if (size !== undefined) {
    if (data.parts.some(part => 'kind' in part && part.kind !== 'bytes')) throw fail('has unpacked numbers')
    const bytes = data.parts.reduce((sum, { begin, end }) => sum + end - begin, 0)
    if (data.packedInts ? bytes < length : bytes !== length * size)
      throw fail(`has ${bytes} bytes for ${length} ${dtype} numbers`)
  }
  const integers = await smallIntegers(wire, dtype, length, raw, ints)
  const scalar = length === 1 ? await readScalar(wire, { dtype, data }) : undefined
  return { name, dims, dtype, length, data, integers, scalar }
}

async function smallIntegers(
  wire: Wire,
  dtype: string,
  length: number,
  raw: Field | undefined,
  ints: readonly Field[],
): Promise<readonly number[] | undefined> {
  if (dtype !== 'I64' || length > smallLength) return undefined
  if (!raw) {
    const numbers: number[] = []
    for (const field of ints) for (const number of await wire.numbers(field)) numbers.push(number)
    return numbers
  }
  const bytes = await wire.bytes(raw, smallLength * 8)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: Math.floor(bytes.length / 8) }, (_, i) => Number(view.getBigInt64(8 * i, true)))
}

/** File names are checked like those of shards. */
async function external(
  wire: Wire,
  entries: readonly Field[],
  externals: ExternalFiles,
  fail: (problem: string) => Error,
): Promise<{ file: ByteSource; parts: Range[] }> {
  const said = new Map<string, string>()
  for (const entry of entries) {
    const [key, value] = await keyAndValue(wire, entry)
    said.set(key, value)
  }
  const name = said.get('location') ?? ''
  const path = siblingFile(wire.file, name)
  let file = externals.get(name)
  if (!file) {
    if (externals.size >= maxExternalFiles)
      throw fail(`needs more than the limit of ${maxExternalFiles} external files`)
    file = await openCheckpointFile(path, wire.file.format)
    externals.set(name, file)
  }
  const begin = Number(said.get('offset') ?? 0)
  const end = begin + Number(said.get('length') ?? file.size - begin)
  if (
    !(
      Number.isSafeInteger(begin) &&
      Number.isSafeInteger(end) &&
      begin >= 0 &&
      end >= begin &&
      end <= file.size
    )
  )
    throw fail(`claims bytes ${said.get('offset')} to ${end} of ${name}, which has ${file.size}`)
  return { file, parts: [{ begin, end }] }
}

/** The key and value of a StringStringEntryProto. */
export async function keyAndValue(wire: Wire, range: Range): Promise<[string, string]> {
  const fields = await wire.fields(range)
  const text = async (id: number) => {
    const field = fields.findLast(each => each.id === id)
    return field ? await wire.text(field) : ''
  }
  return [await text(1), await text(2)]
}

/** Where the numbers are stored, if they are contiguous and in a form that weights can have. */
export function storedTensor({ dtype, data, dequantized }: OnnxTensor): StoredTensor | undefined {
  const { descriptor } = data.file
  const [part, ...others] = data.parts
  if (descriptor === undefined || !part || others.length > 0 || data.packedInts || !isFloatType(dtype))
    return undefined
  if (dequantized) return undefined
  return { place: { descriptor, position: part.begin }, type: dtype }
}

/**
 * The numbers of a tensor that is not quantized, in order; the caller owns them, or they are in `into`.
 *
 * @throws ResidualError NON_FINITE, OUT_OF_MEMORY, FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID
 */
export async function readOnnxTensor(
  wire: Wire,
  { name, dtype, length, data }: OnnxTensor,
  into?: Float32Array,
): Promise<Float32Array> {
  const { file, parts, packedInts } = data
  if (!isFloatType(dtype)) throw wire.invalid(`'${name}' is ${dtype}; weights must be F32, F16, BF16 or F64`)
  const result = allocateFloats(name, length, file.path, into)
  if (packedInts) {
    const bits: number[] = []
    for (const { begin, end } of parts)
      for (const value of await wire.allNumbers({ begin, end })) bits.push(value)
    if (bits.length !== length)
      throw wire.invalid(`'${name}' has ${bits.length} numbers instead of ${length}`)
    toFloat32(dtype, new Uint8Array(Uint16Array.from(bits).buffer), result)
  } else {
    let done = 0
    for (const { begin, end } of parts) {
      const count = (end - begin) / storedBytes[dtype]
      if (!Number.isInteger(count)) throw wire.invalid(`'${name}' ends in the middle of a number`)
      await readFloats(file, begin, dtype, result.subarray(done, done + count))
      done += count
    }
  }
  await file.checkUnchanged()
  return checkFinite(name, result, file.path)
}
