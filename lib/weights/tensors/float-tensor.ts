// Memory for a tensor that is read, and the check that every number is finite.
import { ResidualError } from '../../errors.ts'
import { indexOutside } from './float16.ts'

/**
 * `into` if it has that length, else a new array.
 *
 * @throws ResidualError OUT_OF_MEMORY
 */
export function allocateFloats(
  name: string,
  length: number,
  path: string,
  into?: Float32Array,
): Float32Array {
  if (into?.length === length) return into
  try {
    return new Float32Array(length)
  } catch (cause) {
    throw outOfMemory(`'${name}' in ${path} needs ${length * 4} bytes as float32`, cause)
  }
}

/** @throws ResidualError OUT_OF_MEMORY */
export function allocateIntegers(name: string, length: number, path: string): Int8Array<ArrayBuffer> {
  try {
    return new Int8Array(length)
  } catch (cause) {
    throw outOfMemory(`'${name}' in ${path} needs ${length} bytes`, cause)
  }
}

const outOfMemory = (need: string, cause: unknown) =>
  new ResidualError('OUT_OF_MEMORY', `${need}, more than is available.`, { cause })

/**
 * Returns `values`.
 *
 * @throws ResidualError NON_FINITE
 */
export function checkFinite(name: string, values: Float32Array, path: string): Float32Array {
  const bad = indexOutside(values, Number.POSITIVE_INFINITY)
  if (bad < 0) return values
  throw new ResidualError('NON_FINITE', `'${name}' in ${path} is ${values[bad]} at index ${bad}.`)
}
