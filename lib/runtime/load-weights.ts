// How do a network's weights get onto its device? A few operations at a time: while one is read, others are folded and packed.
import { ResidualError } from '../errors.ts'
import type { Plan } from '../model/plan.ts'
import {
  ofOperation,
  readOpWeights,
  takesWeights,
  type WeightedOp,
  weightBytes,
  weightName,
} from '../weights/op-weights.ts'
import type { WeightSource } from '../weights/source.ts'
import { Staging } from '../weights/staging.ts'
import { type NativeSession, translateError } from './native.ts'

/** Operations under way together: each holds its weights in memory and takes a thread of libuv's four; one is left to others. */
export const mostAtOnce = 3

/** Larger operations than this, in bytes of weights, take turns in one place: of wide networks each lane's would be tens of MB. */
const mostOfALane = 10 << 20

/**
 * Loads the weights of every operation, `atOnce` of them at a time. When it settles nothing is under way any more; of several
 * failures it rejects with that of the first operation.
 *
 * @throws ResidualError what {@link readOpWeights} throws, NON_FINITE for weights that come to no finite float32, OUT_OF_MEMORY,
 *   DEVICE_LOST
 */
export async function loadWeights(
  plan: Plan,
  source: WeightSource,
  native: NativeSession,
  atOnce: number,
): Promise<void> {
  const ops = [...plan.ops.entries()].filter((entry): entry is [number, WeightedOp] => takesWeights(entry[1]))
  const usualBytes = Math.max(0, ...ops.map(([, op]) => weightBytes(plan, op)))
  const queue = ops.values() // shared: each lane takes the next
  const large = new Staging(usualBytes) // shared too, in turn
  let largeIsFree: Promise<unknown> = Promise.resolve()
  const failures = new Map<number, unknown>() // by operation
  const lane = async () => {
    const own = new Staging(Math.min(usualBytes, mostOfALane))
    for (const [index, op] of queue) {
      if (failures.size > 0) return
      const loadInto = async (staging: Staging) => {
        const { stored, type, scale, bias } = await readOpWeights(plan, op, source, staging)
        await native.loadWeights(index, stored, type, scale, bias).catch(error => explain(error, op, source))
      }
      const isLarge = weightBytes(plan, op) > mostOfALane
      const loaded = isLarge ? largeIsFree.then(() => loadInto(large)) : loadInto(own)
      const settled = loaded.catch(error => failures.set(index, error))
      if (isLarge) largeIsFree = settled
      await settled
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()))
}

/** Throws what `error`, of the addon, means: it knows the channel of a number that is not finite, but not whether it was read so. */
async function explain(error: unknown, op: WeightedOp, source: WeightSource): Promise<never> {
  const cause = translateError(error)
  const name = weightName(op)
  // A source that refuses such numbers says which it is.
  if (cause instanceof ResidualError && cause.code === 'NON_FINITE' && name !== null) await source.read(name)
  throw ofOperation(op, source, cause)
}
