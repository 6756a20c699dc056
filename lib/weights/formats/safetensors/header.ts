// The header of a safetensors file: parsed, and every claim checked before anything is allocated for it. The format:
// https://huggingface.co/docs/safetensors
import type { ResidualError } from '../../../errors.ts'
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import { scanHeader } from './scan.ts'

/** Bytes per element of the format's types. Floating-point ones can be read here, and I8 with scales. */
export const elementBytes: { readonly [dtype: string]: number } = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
}

export interface TensorInfo {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  /** The number of elements, the product of `shape`. */
  readonly length: number
  /** Offset from the beginning of the data. */
  readonly begin: number
  readonly end: number
}

export interface Header {
  readonly metadata: ReadonlyMap<string, string>
  /** In the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>
}

/** As in the reference implementation. */
export const maxHeaderBytes = 100_000_000

/**
 * Parses a header's JSON and checks it against the `dataBytes` that follow it in the file.
 *
 * @throws ResidualError CHECKPOINT_INVALID
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number, path: string): Header {
  const fail = (problem: string, cause?: unknown) => invalid(path, problem, cause)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw fail('its header is not UTF-8', cause)
  }
  if (!text.startsWith('{')) throw fail("its header does not begin with '{'")
  scanHeader(text, fail)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw fail(`its header is not JSON: ${(cause as Error).message}`, cause)
  }

  const { __metadata__: metadata = {}, ...entries } = json as Record<string, unknown>
  if (!isObject(metadata) || !Object.values(metadata).every(value => typeof value === 'string')) {
    throw fail("its '__metadata__' does not map strings to strings")
  }
  const infos = Object.entries(entries).map(([name, entry]) => parseEntry(name, entry, fail))
  infos.sort((a, b) => a.begin - b.begin || a.end - b.end)
  checkLayout(infos, dataBytes, fail)
  return {
    metadata: new Map(Object.entries(metadata as Record<string, string>)),
    tensors: new Map(infos.map(info => [info.name, info])),
  }
}

export function invalid(path: string, problem: string, cause?: unknown): ResidualError {
  return invalidCheckpoint({ path, format: 'safetensors' }, problem, cause)
}

type Fail = (problem: string) => ResidualError

function parseEntry(name: string, entry: unknown, fail: Fail): TensorInfo {
  if (!isObject(entry)) throw fail(`the entry of '${name}' is not an object`)
  const { dtype, shape, data_offsets: offsets } = entry
  if (typeof dtype !== 'string') throw fail(`'${name}' has no dtype`)
  if (!Object.hasOwn(elementBytes, dtype)) throw fail(`'${name}' has the unknown dtype '${dtype}'`)
  if (!isCounts(shape)) throw fail(`the shape of '${name}' is not a list of sizes`)
  let length = 1
  for (const size of shape) {
    length *= size
    if (!Number.isSafeInteger(length * 8)) throw fail(`the shape of '${name}' has too many elements`)
  }
  if (!isCounts(offsets) || offsets.length !== 2)
    throw fail(`the data_offsets of '${name}' are not two offsets`)
  const [begin, end] = offsets as [number, number]
  if (begin > end) throw fail(`the data of '${name}' ends at ${end}, before it begins at ${begin}`)
  const expected = length * elementBytes[dtype]!
  if (end - begin !== expected) {
    throw fail(`'${name}' takes ${expected} bytes as ${dtype} [${shape.join(',')}] but has ${end - begin}`)
  }
  return { name, dtype, shape, length, begin, end }
}

/** The sorted tensors must fill the data completely, without gaps or overlaps. */
function checkLayout(infos: readonly TensorInfo[], dataBytes: number, fail: Fail): void {
  let at = 0
  for (const { name, begin, end } of infos) {
    if (begin < at) throw fail(`the data of '${name}' overlaps that of another tensor`)
    if (begin > at) throw fail(`there is a gap of ${begin - at} bytes before the data of '${name}'`)
    if (end > dataBytes)
      throw fail(`the data of '${name}' ends at ${end} but the file has only ${dataBytes}: it is truncated`)
    at = end
  }
  if (at !== dataBytes) throw fail(`${dataBytes - at} bytes follow the last tensor`)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(n => Number.isSafeInteger(n) && n >= 0)
}
