// The bytes that normalised floats were made of, for networks that take bytes: those in int8. Sessions turn floats into bytes
// themselves, but a batch that cannot be turned fails as a whole, whosever images are in it.
import { setImmediate } from 'node:timers/promises'
import { ResidualError } from '../../errors.ts'
import type { Plan } from '../../model/plan.ts'

/** Whether the network takes the bytes of images, and nothing normalised. */
export function takesBytes(plan: Plan): boolean {
  return plan.values[plan.ops[0]!.dst]!.precision === 'uint8'
}

const elementsPerTurn = 2 ** 20 // a few milliseconds

/**
 * The bytes that `normalised`, `[N,H,W,C]`, was made of. Yields to the event loop now and then.
 *
 * @throws ResidualError INPUT_OUT_OF_RANGE
 */
export async function imageBytes(plan: Plan, normalised: Float32Array): Promise<Uint8Array> {
  const [op] = plan.ops
  if (op?.kind !== 'normalize') throw new TypeError('Expected a plan that begins with normalize') // checked with the plan
  const [mean, std] = [Float32Array.from(op.mean), Float32Array.from(op.std)]
  const bytes = new Uint8Array(normalised.length)
  for (let begin = 0; begin < normalised.length; begin += elementsPerTurn) {
    if (begin > 0) await setImmediate()
    const end = Math.min(begin + elementsPerTurn, normalised.length)
    for (let i = begin; i < end; i++) {
      const c = i % mean.length
      const byte = (normalised[i]! * std[c]! + mean[c]!) * 255
      if (!(byte >= -0.5 && byte < 255.5))
        throw new ResidualError(
          'INPUT_OUT_OF_RANGE',
          `Element ${i} of the input is ${normalised[i]}, to which no byte of an image is normalised. In int8 the network takes ` +
            'images: pass bytes, or floats that were made of them.',
        )
      bytes[i] = byte + 0.5
    }
  }
  return bytes
}
