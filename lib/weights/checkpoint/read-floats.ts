// Reading stored numbers of any type as float32, in pieces, so that they are never in memory twice.

import { type FloatType, storedBytes, toFloat32 } from '../tensors/stored-type.ts'
import type { ByteSource } from './checkpoint-file.ts'

const chunkBytes = 4 << 20

/**
 * Fills `result` with the numbers that begin at `at`.
 *
 * @throws ResidualError FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID if the file is too short
 */
export async function readFloats(
  file: ByteSource,
  at: number,
  type: FloatType,
  result: Float32Array,
): Promise<void> {
  if (type === 'F32')
    return await file.read([new Uint8Array(result.buffer, result.byteOffset, result.byteLength)], at)
  const size = storedBytes[type]
  const step = chunkBytes / size
  for (let begin = 0; begin < result.length; begin += step) {
    const target = result.subarray(begin, begin + step)
    const source = new Uint8Array(target.length * size)
    await file.read([source], at + begin * size)
    toFloat32(type, source, target)
  }
}
