// Packed integers, decoded in slices to the bytes that the binary format would have.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { invalid } from '../protocol/tensor-values.ts'

const bytesPerTurn = 2 ** 18 // a millisecond

/**
 * The bytes that packed integers encode. Yields to the event loop now and then.
 *
 * @throws ResidualError REQUEST_INVALID, or the signal's reason
 */
export async function readVarints(
  name: string,
  parts: readonly Uint8Array[],
  signal: AbortSignal,
): Promise<Uint8Array> {
  const values = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let [count, value, shift] = [0, 0, 0]
  for (const part of parts)
    for (let from = 0; from < part.length; from += bytesPerTurn) {
      if (from > 0) await nextTurn()
      signal.throwIfAborted()
      const to = Math.min(part.length, from + bytesPerTurn)
      for (let at = from; at < to; at++) {
        const byte = part[at]!
        const bits = byte & 127 // seven bits at a time, lowest first
        if (shift > 0 && bits > (shift === 7 ? 1 : 0))
          throw invalid(`Element ${count} of the input '${name}' must be an integer from 0 to 255.`)
        value |= bits << shift
        shift = Math.min(shift + 7, 14)
        if (byte > 127) continue
        values[count++] = value
        value = 0
        shift = 0
      }
    }
  return values.subarray(0, count)
}
