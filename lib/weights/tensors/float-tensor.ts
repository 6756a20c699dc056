// Checks of a tensor that was read: it fits into memory and every number is finite.
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
    const problem = `'${name}' in ${path} needs ${length * 4} bytes as float32, more than is available`
    throw new ResidualError('OUT_OF_MEMORY', `${problem}.`, { cause })
  }
}

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
