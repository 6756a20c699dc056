// Options of a batcher and of its requests: defaults and validation.
import { checkNames, type Names } from '../../base/options.ts'
import { checkInteger, outOfRange, wrongType } from '../../errors.ts'
import { inputShape, type OutputName, outputNames, type Plan } from '../../model/plan.ts'
import type { Session } from '../session.ts'
import { defaultMaxBatch } from '../session-options.ts'

export interface BatcherOptions {
  /** Images that run together, at most; that of a session unless given. */
  readonly maxBatch?: number
  /** How long the oldest image waits for others while a session is free; 2 unless given. Rounded up to whole milliseconds. */
  readonly maxWaitMs?: number
  /** Images that may wait, those under way not counted; 1024 unless given. */
  readonly maxQueue?: number
  /** Told of every batch that has run. What it throws is a warning of the process, and no request's failure. */
  readonly onBatch?: (batch: { readonly images: number; readonly computeMs: number }) => void
}

const batcherNames = {
  maxBatch: true,
  maxWaitMs: true,
  maxQueue: true,
  onBatch: true,
} as const satisfies Names<BatcherOptions>

export interface BatchRequest<Name extends OutputName> {
  /** What to return, as for {@link Session.run}. */
  readonly outputs: readonly Name[]
  /** Gives the places of the request back when it is aborted; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** From now on; no limit unless given. */
  readonly timeoutMs?: number
}

export const requestNames = {
  outputs: true,
  signal: true,
  timeoutMs: true,
} as const satisfies Names<BatchRequest<OutputName>>

export const defaultMaxWaitMs = 2
export const defaultMaxQueue = 1024

/** What the batches run through. */
export type BatchRunner = Pick<Session, 'plan' | 'run' | 'concurrency'>

const longestTimeoutMs = 2 ** 31 - 1 // of Node's timers

export type CheckedBatcherOptions = Required<Omit<BatcherOptions, 'onBatch'>> &
  Pick<BatcherOptions, 'onBatch'>

/** @throws TypeError, RangeError for options that do not exist */
export function checkBatcherOptions(options: BatcherOptions): CheckedBatcherOptions {
  checkNames(options, batcherNames)
  const { onBatch } = options
  if (onBatch !== undefined && typeof onBatch !== 'function')
    throw wrongType('a function', 'onBatch', onBatch)
  return {
    maxBatch: checkInteger('maxBatch', options.maxBatch ?? defaultMaxBatch, 1),
    maxQueue: checkInteger('maxQueue', options.maxQueue ?? defaultMaxQueue, 1),
    maxWaitMs: checkMs('maxWaitMs', options.maxWaitMs ?? defaultMaxWaitMs),
    ...(onBatch && { onBatch }),
  }
}

/** @throws TypeError, RangeError for what is no list of sessions of one network */
export function checkRunners(runners: unknown): asserts runners is readonly BatchRunner[] {
  if (!Array.isArray(runners)) throw wrongType('an array of sessions', 'runners', runners)
  if (runners.length === 0) throw outOfRange('at least one session', 'runners', 'none')
  for (const runner of runners as Partial<BatchRunner>[]) {
    if (typeof runner?.run !== 'function' || typeof runner.plan !== 'object')
      throw wrongType('sessions', 'runners', runner)
    checkInteger('concurrency', runner.concurrency, 1)
    if (interfaceOf(runner.plan as Plan) !== interfaceOf(runners[0].plan))
      throw outOfRange('sessions of one network', 'runners', 'sessions of several')
  }
}

/** What goes in and what comes out, as text. */
function interfaceOf(plan: Plan): string {
  const outputs = outputNames.map(name => plan.values[plan.outputs[name] ?? -1] ?? null)
  return JSON.stringify([inputShape(plan), outputs])
}

/** Returns `value` if a timer can wait that long. */
export function checkMs(name: string, value: unknown): number {
  const what = `milliseconds from 0 to ${longestTimeoutMs}`
  if (typeof value !== 'number') throw wrongType(what, name, value)
  if (!(value >= 0 && value <= longestTimeoutMs)) throw outOfRange(what, name, value)
  return value
}
