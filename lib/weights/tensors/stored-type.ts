// The types of stored weights, and their conversion to float32.
import { decodeBFloat16, decodeFloat16 } from './float16.ts'

/**
 * Bytes per number, by safetensors' name for the type. Those of I8 are integers, from -127 to 127, with a scale for each output
 * channel. Must match `core::StoredType`.
 */
export const storedBytes = { F32: 4, F16: 2, BF16: 2, F64: 8, I8: 1 } as const
export type StoredType = keyof typeof storedBytes

/** A type whose numbers are what they say. */
export type FloatType = Exclude<StoredType, 'I8'>

export function isFloatType(dtype: string): dtype is FloatType {
  return dtype !== 'I8' && Object.hasOwn(storedBytes, dtype)
}

/** Decodes `bytes`, aligned for their type, to `target`, which has as many numbers. F64 is rounded. */
export function toFloat32(type: FloatType, bytes: Uint8Array, target: Float32Array): void {
  const { buffer, byteOffset } = bytes
  const { length } = target
  if (type === 'F16') decodeFloat16(new Uint16Array(buffer, byteOffset, length), target)
  else if (type === 'BF16') decodeBFloat16(new Uint16Array(buffer, byteOffset, length), target)
  else if (type === 'F64') target.set(new Float64Array(buffer, byteOffset, length))
  else target.set(new Float32Array(buffer, byteOffset, length))
}
