// Writing safetensors files, atomically.
import type { FileHandle } from 'node:fs/promises'
import { types } from 'node:util'
import { checkNames, checkSignal, type Names } from '../../../base/options.ts'
import { checkInteger, outOfRange, ResidualError, wrongType } from '../../../errors.ts'
import { writeAtomically } from '../../../files/atomic-file.ts'
import { product } from '../../../model/product.ts'
import { encodeBFloat16, encodeFloat16, indexOutside } from '../../tensors/float16.ts'

interface Head {
  readonly name: string
  readonly shape: readonly number[]
}

export interface NamedTensor extends Head {
  /** Instead of that of the options. */
  readonly dtype?: FloatDtype
  /** Row-major. */
  readonly data: Float32Array
}

/** A tensor that is read when it is written, so that only one at a time is in memory. */
export interface DeferredTensor extends Head {
  /** Instead of that of the options. */
  readonly dtype?: FloatDtype
  /** Row-major, as long as `shape` says. */
  readonly read: () => Promise<Float32Array>
}

/** A {@link DeferredTensor} of integers. */
export interface DeferredIntegers extends Head {
  readonly dtype: 'I8'
  readonly read: () => Promise<Int8Array>
}

type FloatDtype = 'F32' | 'F16' | 'BF16'
type TensorDtype = FloatDtype | 'I8'

export interface WriteOptions {
  readonly dtype?: FloatDtype
  readonly metadata?: { readonly [key: string]: string }
  /** Cancels it before the next tensor; the promise rejects with the signal's reason, and nothing is written. */
  readonly signal?: AbortSignal
}

export const writeOptionNames = {
  dtype: true,
  metadata: true,
  signal: true,
} as const satisfies Names<WriteOptions>

const metadataName = '__metadata__' // the header's only entry that is not a tensor
const alignment = 8 // of the data's beginning; the header is padded with spaces
const elementBytes = { F32: 4, F16: 2, BF16: 2, I8: 1 }
const floatDtypes: readonly FloatDtype[] = ['F32', 'F16', 'BF16']
/** The smallest magnitude that rounds to infinity in each type. */
const limits = { F32: Number.POSITIVE_INFINITY, F16: 65520, BF16: (2 - 2 ** -8) * 2 ** 127 }
const pieceLength = 1 << 20 // values converted to 16 bits at a time

/**
 * Writes `tensors` to `path`: first to a temporary file in the same folder, which is then renamed. The same tensors give the
 * same bytes.
 *
 * @throws RangeError for shapes that do not match their data and names used twice, TypeError for data of another type than its
 *   dtype, ResidualError NON_FINITE for values the dtype cannot represent, FILE_WRITE_FAILED, or whatever reading throws; the
 *   signal's reason. `path` is then unchanged
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly (NamedTensor | DeferredTensor | DeferredIntegers)[],
  options: WriteOptions = {},
): Promise<void> {
  checkNames(options, writeOptionNames)
  const { dtype = 'F32', metadata } = options
  const signal = checkSignal(options.signal)
  if (!floatDtypes.includes(dtype)) throw outOfRange(`one of ${floatDtypes.join(', ')}`, 'dtype', dtype)
  const names = new Set([metadataName])
  for (const tensor of tensors) {
    if (names.has(tensor.name)) throw outOfRange('a unique name', 'each tensor', tensor.name)
    names.add(tensor.name)
    for (const size of tensor.shape) checkInteger(`each size of '${tensor.name}'`, size, 0)
    const own: TensorDtype = tensor.dtype ?? dtype
    if (!Object.hasOwn(elementBytes, own))
      throw outOfRange(`one of ${Object.keys(elementBytes).join(', ')}`, `the dtype of '${tensor.name}'`, own)
    if ('data' in tensor) checkData(tensor, own, tensor.data)
  }
  await writeAtomically(path, async handle => {
    await handle.writeFile(header(tensors, dtype, metadata))
    for (const tensor of tensors) {
      signal?.throwIfAborted()
      const own: TensorDtype = tensor.dtype ?? dtype
      const data = 'data' in tensor ? tensor.data : await tensor.read()
      if ('read' in tensor) checkData(tensor, own, data)
      await writeData(handle, data, own)
    }
  })
}

function checkData({ name, shape }: Head, dtype: TensorDtype, data: Float32Array | Int8Array): void {
  const length = product(shape)
  if (length !== data.length)
    throw outOfRange(`${length} values for [${shape.join(',')}]`, `'${name}'`, data.length)
  if (types.isInt8Array(data) !== (dtype === 'I8'))
    throw wrongType(dtype === 'I8' ? 'an Int8Array' : 'a Float32Array', `'${name}', of ${dtype},`, data)
  if (dtype === 'I8') return
  const bad = indexOutside(data as Float32Array, limits[dtype])
  if (bad < 0) return
  throw new ResidualError(
    'NON_FINITE',
    `'${name}' is ${data[bad]} at index ${bad}, which ${dtype} cannot represent.`,
  )
}

function header(
  tensors: readonly (Head & { readonly dtype?: TensorDtype })[],
  dtype: FloatDtype,
  metadata: WriteOptions['metadata'],
) {
  let at = 0
  const entries = tensors.map(({ name, shape, dtype: own = dtype }): [string, object] => {
    const begin = at
    at += product(shape) * elementBytes[own]
    return [name, { dtype: own, shape, data_offsets: [begin, at] }]
  })
  const json = JSON.stringify(
    Object.fromEntries([...(metadata ? [[metadataName, metadata] as const] : []), ...entries]),
  )
  const text = new TextEncoder().encode(json)
  const padded = Math.ceil(text.length / alignment) * alignment
  const result = new Uint8Array(8 + padded).fill(0x20)
  new DataView(result.buffer).setBigUint64(0, BigInt(padded), /*littleEndian=*/ true)
  result.set(text, 8)
  return result
}

async function writeData(
  handle: FileHandle,
  data: Float32Array | Int8Array,
  dtype: TensorDtype,
): Promise<void> {
  if (dtype === 'F32' || dtype === 'I8')
    return handle.writeFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  const convert = dtype === 'F16' ? encodeFloat16 : encodeBFloat16
  for (let begin = 0; begin < data.length; begin += pieceLength) {
    const source = data.subarray(begin, begin + pieceLength)
    const target = new Uint16Array(source.length)
    for (let i = 0; i < source.length; i++) target[i] = convert(source[i]!)
    await handle.writeFile(new Uint8Array(target.buffer))
  }
}
