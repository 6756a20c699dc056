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

/**
 * Operations loaded concurrently: each takes memory for its weights and one of libuv's four threads; one thread is left for other
 * work.
 */
export const mostAtOnce = 3

/**
 * Operations with more staged weight bytes than this share one buffer in turn: in wide networks a buffer per lane would be tens
 * of MB.
 */
const mostOfALane = 4 << 20

/**
 * Loads the weights of every operation, `atOnce` at a time. Once it settles nothing is running any more; if several fail, it
 * rejects with the error of the first operation.
 *
 * @throws ResidualError what {@link readOpWeights} throws, NON_FINITE for weights that are not finite as float32, OUT_OF_MEMORY,
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
  await storedOf(source)?.file.checkUnchanged?.() // otherwise nothing that was read can be trusted
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()))
}

/** Throws a better error than the addon's `error`, which knows a channel or a position, but no tensor and no file. */
async function explain(error: unknown, op: WeightedOp, source: WeightSource): Promise<never> {
  const cause = translateError(error)
  const name = weightName(op)
  // If a stored number is not finite or the file is not readable, the source reports it by name.
  if (cause instanceof ResidualError && tensorErrors.has(cause.code) && name !== null) await source.read(name)
  throw ofOperation(op, source, cause)
}

const tensorErrors: ReadonlySet<ErrorCode> = new Set(['NON_FINITE', 'FILE_NOT_FOUND', 'CHECKPOINT_INVALID'])
