// The quantization of a network: how its values are kept in 8 bits, and which operations are not computed in them.
import { quoted } from '../errors.ts'
import type { ScaledPrecision } from './value.ts'

/** How a value is kept for operations in int8: a number of `type` stands for that many times the `scale`. */
export interface QuantizedValue {
  readonly type: ScaledPrecision
  readonly scale: number
}

export interface Quantization {
  /**
   * By the operation of the float32 plan that makes the value. That of `normalize` is `uint8` with scale 1 for the image's bytes
   * as they are, which the convolution that reads them normalises by its weights; else `int8`, of normalised numbers. A max pool
   * keeps what it reads, so it needs none.
   */
  readonly values: { readonly [op: string]: QuantizedValue }
  /** The convolutions and linear operations that are not computed in int8, and in what instead. */
  readonly kept: { readonly [op: string]: 'bf16' | 'fp32' }
}

/** A key of a checkpoint's metadata: its quantization as JSON. Set by `residual quantize`. */
export const quantizationKey = 'residual.quantization'

const version = 1

/** What else a quantized file says of itself: how its ranges were found, with how many images. */
export interface QuantizationMethod {
  readonly [key: string]: unknown
}

/** The text of {@link quantizationKey}. */
export function quantizationText(quantization: Quantization, method: QuantizationMethod = {}): string {
  const { values, kept } = quantization
  return JSON.stringify({ version, values, kept, method })
}

/**
 * Parses the text of {@link quantizationKey}. Nothing in it is trusted.
 *
 * @param fail makes the error of a problem
 */
export function parseQuantization(
  text: string,
  fail: (problem: string, cause?: unknown) => Error,
): Quantization {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw fail(`its '${quantizationKey}' is not JSON: ${(cause as Error).message}`, cause)
  }
  if (!isObject(json)) throw fail(`its '${quantizationKey}' is not an object`)
  if (json.version !== version)
    throw fail(
      `its '${quantizationKey}' has the version ${quoted(json.version)}, where only ${version} is known`,
    )
  const [values, kept] = [json.values, json.kept]
  if (!isObject(values)) throw fail(`its '${quantizationKey}' has no values`)
  if (!isObject(kept)) throw fail(`its '${quantizationKey}' does not say what is kept`)
  for (const [op, value] of Object.entries(values)) checkValue(op, value, fail)
  for (const [op, precision] of Object.entries(kept))
    if (precision !== 'bf16' && precision !== 'fp32')
      throw fail(`its quantization keeps '${op}' in ${quoted(precision)}, which is neither bf16 nor fp32`)
  return { values: bare(values), kept: bare(kept) } as unknown as Quantization
}

function checkValue(op: string, value: unknown, fail: (problem: string) => Error): void {
  const { type, scale } = isObject(value) ? value : {}
  if (type !== 'int8' && type !== 'uint8')
    throw fail(`its quantization keeps the values of '${op}' as ${quoted(type)}, neither int8 nor uint8`)
  const rounded = typeof scale === 'number' ? Math.fround(scale) : Number.NaN
  if (!(rounded > 0 && Number.isFinite(rounded)))
    throw fail(
      `its quantization gives the values of '${op}' the scale ${quoted(scale)}, which is not a positive number`,
    )
  if (op === 'normalize' && type === 'uint8' && scale !== 1)
    throw fail(`its quantization gives the image's bytes the scale ${quoted(scale)} instead of 1`)
}

/** A copy without a prototype: operations may have the names of its members. */
const bare = (object: object): object => Object.assign(Object.create(null), object)

function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
