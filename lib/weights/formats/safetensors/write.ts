// Writing safetensors files, atomically.
import type { FileHandle } from 'node:fs/promises'
import { checkNames, checkSignal, type Names } from '../../../base/options.ts'
import { checkInteger, outOfRange, ResidualError } from '../../../errors.ts'
import { writeAtomically } from '../../../files/atomic-file.ts'
import { product } from '../../../model/product.ts'
import { encodeBFloat16, encodeFloat16, indexOutside } from '../../tensors/float16.ts'

export interface NamedTensor {
  readonly name: string
  readonly shape: readonly number[]
  /** Row-major. */
  readonly data: Float32Array
}

/** A tensor that is read when it is written, so that only one at a time is in memory. */
export interface DeferredTensor {
  readonly name: string
  readonly shape: readonly number[]
  /** Row-major, as long as `shape` says. */
  readonly read: () => Promise<Float32Array>
}

export interface WriteOptions {
  readonly dtype?: 'F32' | 'F16' | 'BF16'
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
const elementBytes = { F32: 4, F16: 2, BF16: 2 }
/** The smallest magnitude that rounds to infinity in each type. */
const limits = { F32: Number.POSITIVE_INFINITY, F16: 65520, BF16: (2 - 2 ** -8) * 2 ** 127 }
const pieceLength = 1 << 20 // values converted to 16 bits at a time

/**
 * Writes `tensors` to `path`: first to a temporary file in the same folder, which is then renamed. The same tensors give the
 * same bytes.
 *
 * @throws RangeError for shapes that do not match their data and names used twice, ResidualError NON_FINITE for values `dtype`
 *   cannot represent, FILE_WRITE_FAILED, or whatever reading throws; the signal's reason. `path` is then unchanged
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly (NamedTensor | DeferredTensor)[],
  options: WriteOptions = {},
): Promise<void> {
  checkNames(options, writeOptionNames)
  const { dtype = 'F32', metadata } = options
  const signal = checkSignal(options.signal)
  if (!Object.hasOwn(elementBytes, dtype))
    throw outOfRange(`one of ${Object.keys(elementBytes).join(', ')}`, 'dtype', dtype)
  const names = new Set([metadataName])
  for (const tensor of tensors) {
    if (names.has(tensor.name)) throw outOfRange('a unique name', 'each tensor', tensor.name)
    names.add(tensor.name)
    for (const size of tensor.shape) checkInteger(`each size of '${tensor.name}'`, size, 0)
    if ('data' in tensor) checkData(tensor, dtype)
  }
  await writeAtomically(path, async handle => {
    await handle.writeFile(header(tensors, dtype, metadata))
    for (const tensor of tensors) {
      signal?.throwIfAborted()
      const data = 'data' in tensor ? tensor.data : await tensor.read()
      if ('read' in tensor) checkData({ ...tensor, data }, dtype)
      await writeData(handle, data, dtype)
    }
  })
}

function checkData({ name, shape, data }: NamedTensor, dtype: keyof typeof limits): void {
  const length = product(shape)
  if (length !== data.length)
    throw outOfRange(`${length} values for [${shape.join(',')}]`, `'${name}'`, data.length)
  const bad = indexOutside(data, limits[dtype])
  if (bad < 0) return
  throw new ResidualError(
    'NON_FINITE',
    `'${name}' is ${data[bad]} at index ${bad}, which ${dtype} cannot represent.`,
  )
}

function header(
  tensors: readonly (NamedTensor | DeferredTensor)[],
  dtype: keyof typeof elementBytes,
  metadata: WriteOptions['metadata'],
) {
  let at = 0
  const entries = tensors.map(({ name, shape }): [string, object] => {
    const begin = at
    at += product(shape) * elementBytes[dtype]
    return [name, { dtype, shape, data_offsets: [begin, at] }]
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
  data: Float32Array,
  dtype: keyof typeof elementBytes,
): Promise<void> {
  if (dtype === 'F32') return handle.writeFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  const convert = dtype === 'F16' ? encodeFloat16 : encodeBFloat16
  for (let begin = 0; begin < data.length; begin += pieceLength) {
    const source = data.subarray(begin, begin + pieceLength)
    const target = new Uint16Array(source.length)
    for (let i = 0; i < source.length; i++) target[i] = convert(source[i]!)
    await handle.writeFile(new Uint8Array(target.buffer))
  }
}
