// Integers of ONNX tensors: those of quantized weights and biases, and single numbers such as their zero points.
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import { toFloat32 } from '../../tensors/stored-type.ts'
import type { Range, Wire } from './wire.ts'

/** The raw bytes of a tensor; several parts only for packed numbers. */
export interface TensorData {
  readonly file: ByteSource
  readonly parts: readonly Range[]
  readonly packedInts: boolean
}

/** A tensor with its numbers. */
interface Stored {
  readonly name: string
  readonly dtype: string
  readonly length: number
  readonly data: TensorData
}

/** The types of quantized numbers. */
const arrays = { I8: Int8Array, U8: Uint8Array, I32: Int32Array } as const
export type IntegerType = keyof typeof arrays
export type Integers = Int8Array | Uint8Array | Int32Array

export const integerBytes = { I8: 1, U8: 1, I32: 4 } as const

export function isIntegerType(dtype: string): dtype is IntegerType {
  return Object.hasOwn(arrays, dtype)
}

/**
 * All integers of a tensor, in order; the caller owns them.
 *
 * @throws ResidualError FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID
 */
export async function readIntegers(
  wire: Wire,
  { name, dtype, length, data: { file, parts, packedInts } }: Stored,
): Promise<Integers> {
  if (!isIntegerType(dtype)) throw wire.invalid(`'${name}' is ${dtype}, not 8-bit integers`)
  const IntegerArray = arrays[dtype]
  if (packedInts) {
    const numbers: number[] = []
    for (const part of parts) for (const number of await wire.allNumbers(part)) numbers.push(number)
    if (numbers.length !== length)
      throw wire.invalid(`'${name}' has ${numbers.length} numbers instead of ${length}`)
    const result = IntegerArray.from(numbers)
    const bad = numbers.find((number, i) => number !== result[i])
    if (bad !== undefined) throw wire.invalid(`'${name}' has the number ${bad}, which is not ${dtype}`)
    return result
  }
  const result = new IntegerArray(length)
  if (length > 0) await file.read([new Uint8Array(result.buffer)], parts[0]!.begin)
  return result
}

const longestVarint = 10 // bytes

/** The bytes of each type that a single number may have. */
const scalarBytes: { readonly [dtype: string]: number } = {
  ...{ F32: 4, F16: 2, BF16: 2, F64: 8 },
  ...{ I8: 1, U8: 1, I16: 2, U16: 2, I32: 4 },
}

/** The number of a tensor that has only one; undefined if it is not there, or of another type. */
export async function readScalar(
  wire: Wire,
  { dtype, data: { file, parts, packedInts } }: Pick<Stored, 'dtype' | 'data'>,
): Promise<number | undefined> {
  const size = scalarBytes[dtype]
  const [part, ...others] = parts
  if (size === undefined || !part || others.length > 0) return undefined
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  if (packedInts) {
    const [number, ...more] = part.end - part.begin <= longestVarint ? await wire.allNumbers(part) : []
    if (number === undefined || more.length > 0) return undefined
    view.setInt32(0, number, true)
  } else {
    if (part.end - part.begin !== size) return undefined
    await file.read([bytes.subarray(0, size)], part.begin)
  }
  return decoded(dtype, view)
}

function decoded(dtype: string, view: DataView): number {
  switch (dtype) {
    case 'I8':
      return view.getInt8(0)
    case 'U8':
      return view.getUint8(0)
    case 'I16':
      return view.getInt16(0, true)
    case 'U16':
      return view.getUint16(0, true)
    case 'I32':
      return view.getInt32(0, true)
    default: {
      const result = new Float32Array(1)
      toFloat32(dtype as 'F32', new Uint8Array(view.buffer), result)
      return result[0]!
    }
  }
}
