// How are packed integers read? By and by, into the bytes that binary has at once.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { invalid } from './tensor-values.ts'

const bytesPerTurn = 2 ** 20 // a few milliseconds

/**
 * The bytes that packed integers stand for, letting others have their turn now and then.
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
      for (const byte of part.subarray(from, from + bytesPerTurn)) {
        value += (byte & 127) * 2 ** shift
        shift += 7
        if (byte & 128) continue
        if (value > 255)
          throw invalid(`The input '${name}' holds a value at ${count} that is no integer from 0 to 255.`)
        values[count++] = value
        value = 0
        shift = 0
      }
    }
  return values.subarray(0, count)
}
