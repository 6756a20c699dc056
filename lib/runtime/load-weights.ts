// Loading a network's weights onto its device, a few operations at a time: one is read while others are folded and packed.
import { type ErrorCode, ResidualError } from '../errors.ts'
import type { Plan } from '../model/plan.ts'
import {
  ofOperation,
  readOpWeights,
  stagedBytes,
  takesWeights,
  type WeightedOp,
  weightName,
} from '../weights/op-weights.ts'
import type { WeightSource } from '../weights/source.ts'
import { Staging } from '../weights/staging.ts'
import { storedOf } from '../weights/stored-source.ts'
import { type NativeSession, translateError } from './native.ts'

/** Operations under way together: each takes memory for its weights and a thread of libuv's four; one is left to others. */
export const mostAtOnce = 3

/**
 * Larger operations than this, in bytes of weights that are not read from a file in place, take turns in one memory: of wide networks
 * each lane's would be tens of MB.
 */
const mostOfALane = 4 << 20

/**
 * Loads the weights of every operation, `atOnce` of them at a time. When it settles nothing is under way any more; of several
 * failures it rejects with that of the first operation.
 *
 * @throws ResidualError what {@link readOpWeights} throws, NON_FINITE for weights that come to no finite float32, OUT_OF_MEMORY,
 *   DEVICE_LOST; the signal's reason
 */
export async function loadWeights(
  plan: Plan,
  source: WeightSource,
  native: NativeSession,
  atOnce: number,
  signal?: AbortSignal,
): Promise<void> {
  const ops = [...plan.ops.entries()].flatMap(([index, op]) =>
    takesWeights(op) ? [{ index, op, bytes: stagedBytes(plan, op, source) }] : [],
  )
  const usualBytes = Math.max(0, ...ops.map(({ bytes }) => bytes))
  const queue = ops.values() // shared: each lane takes the next
  const large = new Staging(usualBytes) // shared too, in turn
  let largeIsFree: Promise<unknown> = Promise.resolve()
  const failures = new Map<number, unknown>() // by operation
  const lane = async () => {
    const own = new Staging(Math.min(usualBytes, mostOfALane))
    for (const { index, op, bytes } of queue) {
      if (failures.size > 0 || signal?.aborted) return
      const loadInto = async (staging: Staging) => {
        const { stored, layout, type, scale, bias } = await readOpWeights(plan, op, source, staging)
        const loaded = native.loadWeights(index, stored, layout, type, scale, bias)
        await loaded.catch(error => explain(error, op, source))
      }
      const isLarge = bytes > mostOfALane
      const loaded = isLarge ? largeIsFree.then(() => loadInto(large)) : loadInto(own)
      const settled = loaded.catch(error => failures.set(index, error))
      if (isLarge) largeIsFree = settled
      await settled
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  signal?.throwIfAborted()
  await storedOf(source)?.file.checkUnchanged?.() // or nothing that was read means anything
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()))
}

/** Throws what `error`, of the addon, means: it knows a channel or a position, but no tensor and no file. */
async function explain(error: unknown, op: WeightedOp, source: WeightSource): Promise<never> {
  const cause = translateError(error)
  const name = weightName(op)
  // Where a number is not finite, or the file not readable, as it stands, the source says so with the names.
  if (cause instanceof ResidualError && tensorErrors.has(cause.code) && name !== null) await source.read(name)
  throw ofOperation(op, source, cause)
}

const tensorErrors: ReadonlySet<ErrorCode> = new Set(['NON_FINITE', 'FILE_NOT_FOUND', 'CHECKPOINT_INVALID'])
