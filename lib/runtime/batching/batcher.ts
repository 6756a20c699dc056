// A queue that makes few large batches of many small requests. They wait until a batch is full or the oldest has waited
// long enough; while one batch runs the next fills.

import { isFloat32Array, isUint8Array } from 'node:util/types'
import { checkNames, checkSignal, type Names } from '../../base/options.ts'
import { checkInteger, outOfRange, ResidualError, wrongType } from '../../errors.ts'
import { elements, inputShape, type OutputName, outputNames, type Plan } from '../../model/plan.ts'
import { checkOutputs, type Outputs, type Session } from '../session.ts'
import { defaultMaxBatch } from '../session-options.ts'
import type { BatchAnswer } from './batch-parts.ts'
import { answer, type Job, joined, type Part, type Pixels } from './batch-parts.ts'

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

const requestNames = {
  outputs: true,
  signal: true,
  timeoutMs: true,
} as const satisfies Names<BatchRequest<OutputName>>

export const defaultMaxWaitMs = 2
export const defaultMaxQueue = 1024

/** What the batches run through. */
export type BatchRunner = Pick<Session, 'plan' | 'run' | 'concurrency'>

const left = ({ images, taken }: Job) => images - taken

const longestTimeoutMs = 2 ** 31 - 1 // of Node's timers

/** Puts requests together to batches for one or several sessions of the same plan. The sessions stay the caller's. */
export class Batcher {
  readonly #maxBatch: number
  readonly #maxWaitMs: number
  readonly #maxQueue: number
  readonly #onBatch: BatcherOptions['onBatch']
  readonly #plan: Plan
  readonly #perImage: number
  /** Of bytes and of floats: they cannot share a batch. Each in order of arrival. */
  readonly #queues: readonly [Job[], Job[]] = [[], []]
  /** A session is in it once for every run that it may yet begin. */
  readonly #free: BatchRunner[]
  /** The queue that the last batch was of. */
  #last: Job[] | undefined
  #waiting = 0
  #running = 0
  #timer: NodeJS.Timeout | undefined
  #closed: Promise<void> | undefined
  #drained = () => {}

  /** @throws TypeError, RangeError for options that do not exist */
  constructor(runners: readonly BatchRunner[], options: BatcherOptions = {}) {
    checkRunners(runners)
    checkNames(options, batcherNames)
    if (options.onBatch !== undefined && typeof options.onBatch !== 'function')
      throw wrongType('a function', 'onBatch', options.onBatch)
    this.#maxBatch = checkInteger('maxBatch', options.maxBatch ?? defaultMaxBatch, 1)
    this.#maxQueue = checkInteger('maxQueue', options.maxQueue ?? defaultMaxQueue, 1)
    this.#maxWaitMs = checkMs('maxWaitMs', options.maxWaitMs ?? defaultMaxWaitMs)
    this.#onBatch = options.onBatch
    this.#plan = runners[0]!.plan
    this.#perImage = elements(inputShape(this.#plan))
    this.#free = runners.flatMap(runner => Array<BatchRunner>(runner.concurrency).fill(runner))
  }

  /** Images that wait for a batch. */
  get waiting(): number {
    return this.#waiting
  }

  /**
   * Runs the network on images `[N,H,W,3]` (as {@link Session.run} takes them), together with others' or in several
   * batches; the results are those of a run alone, to the bit. `pixels` must stay as they are until the promise settles.
   *
   * @throws ResidualError QUEUE_FULL, QUEUE_CLOSED, DEADLINE_EXCEEDED, or what {@link Session.run} throws
   * @throws TypeError, RangeError for pixels that are no batch of the plan's shape, or a time that is none
   */
  async run<Name extends OutputName>(
    pixels: Pixels,
    request: BatchRequest<Name>,
  ): Promise<BatchAnswer<Name>> {
    checkNames(request, requestNames)
    const { timeoutMs } = request
    const signal = checkSignal(request.signal)
    if (!(isUint8Array(pixels) || isFloat32Array(pixels)))
      throw wrongType('a Uint8Array or Float32Array', 'pixels', pixels)
    const images = pixels.length / this.#perImage
    if (images < 1 || !Number.isInteger(images))
      throw outOfRange(`a multiple of ${this.#perImage} elements`, 'the input', `${pixels.length} elements`)
    const outputs = checkOutputs(this.#plan, request.outputs) // a batch must not fail for what one of its requests asked
    if (timeoutMs !== undefined) checkMs('timeoutMs', timeoutMs)
    signal?.throwIfAborted()
    if (this.#closed)
      throw new ResidualError('QUEUE_CLOSED', 'The queue is being closed. Ask another server.')
    if (this.#waiting + images > this.#maxQueue) {
      throw new ResidualError(
        'QUEUE_FULL',
        `${this.#waiting} images wait, ${images} more would exceed the ${this.#maxQueue} that may. Try again later.`,
      )
    }
    return this.#enqueue(pixels, images, outputs, signal, timeoutMs) as Promise<BatchAnswer<Name>>
  }

  /** Refuses what comes from now on and resolves once all that was accepted is done. */
  close(): Promise<void> {
    if (this.#closed) return this.#closed
    const { promise, resolve } = withResolvers<void>()
    this.#closed = promise
    this.#drained = resolve
    this.#pump() // nothing more will come to fill a batch
    this.#settleClose()
    return promise
  }

  async #enqueue(
    pixels: Pixels,
    images: number,
    outputs: readonly OutputName[],
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
  ): Promise<BatchAnswer<OutputName>> {
    const { promise, resolve, reject } = withResolvers<BatchAnswer<OutputName>>()
    const arrived = performance.now()
    const job: Job = {
      pixels,
      images,
      outputs,
      arrived,
      taken: 0,
      done: 0,
      started: 0,
      results: new Map(),
      resolve,
      reject,
    }
    const abort = () => this.#drop(job, signal!.reason)
    signal?.addEventListener('abort', abort, { once: true })
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            const message = `The request was not done within ${timeoutMs} ms. Allow more, or try again later.`
            this.#drop(job, new ResidualError('DEADLINE_EXCEEDED', message))
          }, timeoutMs)
    this.#queueOf(job).push(job)
    this.#waiting += images
    this.#pump()
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }

  #queueOf({ pixels }: Job): Job[] {
    return this.#queues[isUint8Array(pixels) ? 0 : 1]
  }

  /** Takes what still waits of a job out of the queue. What is under way runs on; its results are nobody's. */
  #drop(job: Job, error: unknown): void {
    const queue = this.#queueOf(job)
    const at = queue.indexOf(job)
    if (at >= 0) {
      queue.splice(at, 1)
      this.#waiting -= left(job)
    }
    job.reject(error)
    this.#settleClose()
  }

  /** Starts every batch that may start now, and sees to it that the next one will. */
  #pump(): void {
    clearTimeout(this.#timer)
    while (this.#free.length > 0 && this.#waiting > 0) {
      const now = performance.now()
      const [soonest, due] = this.#soonest(now)
      if (due > now) {
        this.#timer = setTimeout(() => this.#pump(), Math.ceil(due - now))
        return
      }
      this.#last = soonest
      void this.#runBatch(this.#free.shift()!, this.#take(soonest))
    }
  }

  /** The queue whose next batch must start first, and when. Where both are due they take turns. */
  #soonest(now: number): readonly [Job[], number] {
    const [bytes, floats] = this.#queues
    const [dueBytes, dueFloats] = [this.#due(bytes), this.#due(floats)]
    const bytesFirst =
      this.#last && Math.max(dueBytes, dueFloats) <= now ? this.#last === floats : dueBytes <= dueFloats
    return bytesFirst ? [bytes, dueBytes] : [floats, dueFloats]
  }

  /** When the next batch of a queue is to start: as soon as the oldest has waited long enough, or at once if it is full. */
  #due(queue: readonly Job[]): number {
    const oldest = queue[0]
    if (!oldest) return Number.POSITIVE_INFINITY
    let images = 0
    for (const job of queue) {
      images += left(job)
      if (images >= this.#maxBatch) break
    }
    return this.#closed || images >= this.#maxBatch ? oldest.arrived : oldest.arrived + this.#maxWaitMs
  }

  /**
   * The next batch: one half of it is for the oldest requests, the other for those with the fewest images left. So small
   * requests pass large ones, and nobody waits more than twice as long as in order of arrival.
   */
  #take(queue: Job[]): Part[] {
    const first = new Map<Job, number>() // of the images of each request that are in the batch
    let room = this.#maxBatch
    const take = (jobs: readonly Job[], most: number) => {
      let rest = most
      for (const job of jobs) {
        const count = Math.min(rest, left(job))
        if (count > 0 && !first.has(job)) first.set(job, job.taken)
        job.taken += count
        rest -= count
        if (rest === 0) break
      }
      room -= most - rest
    }
    take(queue, Math.ceil(room / 2))
    take(
      queue.toSorted((a, b) => left(a) - left(b)),
      room,
    )
    let kept = 0
    for (const job of queue) if (left(job) > 0) queue[kept++] = job
    queue.length = kept
    this.#waiting -= this.#maxBatch - room
    return [...first].map(([job, from]) => ({ job, from, to: job.taken }))
  }

  /** Runs a batch. Whatever fails fails its requests, and nothing else: this never rejects. */
  async #runBatch(runner: BatchRunner, taken: readonly Part[]): Promise<void> {
    const started = performance.now()
    this.#running++ // first: what is dropped now must not settle a close
    const parts = this.#intact(taken)
    for (const { job } of parts) job.started ||= started
    const images = parts.reduce((sum, { from, to }) => sum + to - from, 0)
    const outcome = await this.#compute(runner, parts, images).then(
      outputs => ({ outputs }),
      (error: unknown) => ({ error }),
    )
    const ended = performance.now()
    this.#running--
    this.#free.push(runner)
    if ('error' in outcome) for (const { job } of parts) this.#drop(job, outcome.error)
    this.#pump() // the session is not to wait while results are handed out
    if ('outputs' in outcome) this.#deal(parts, images, outcome.outputs, ended)
    if (parts.length > 0) this.#tell({ images, computeMs: ended - started })
    this.#settleClose()
  }

  async #compute(runner: BatchRunner, parts: readonly Part[], images: number): Promise<Outputs<OutputName>> {
    if (parts.length === 0) return {} as Outputs<OutputName>
    const outputs = [...new Set(parts.flatMap(({ job }) => job.outputs))]
    return await runner.run(joined(parts, images, this.#perImage), { outputs })
  }

  /** Without requests whose pixels are no longer there: their owners have transferred or resized them. */
  #intact(parts: readonly Part[]): Part[] {
    return parts.filter(({ job }) => {
      if (job.pixels.length === job.images * this.#perImage) return true
      const problem = outOfRange(
        'as many elements as at the call',
        'the input',
        `${job.pixels.length} elements`,
      )
      this.#drop(job, problem)
      return false
    })
  }

  /** Hands the results out. Where one request's cannot be kept, for want of memory, the others have theirs. */
  #deal(parts: readonly Part[], images: number, outputs: Outputs<OutputName>, ended: number): void {
    let at = 0
    for (const part of parts) {
      try {
        answer(part, outputs, { at, images }, ended)
      } catch (error) {
        this.#drop(part.job, error)
      }
      at += part.to - part.from
    }
  }

  #tell(batch: { readonly images: number; readonly computeMs: number }): void {
    try {
      this.#onBatch?.(batch)
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : `onBatch threw ${String(error)}`)
    }
  }

  #settleClose(): void {
    if (this.#closed && this.#waiting === 0 && this.#running === 0) this.#drained()
  }
}

function checkRunners(runners: unknown): asserts runners is readonly BatchRunner[] {
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
function checkMs(name: string, value: unknown): number {
  const what = `milliseconds from 0 to ${longestTimeoutMs}`
  if (typeof value !== 'number') throw wrongType(what, name, value)
  if (!(value >= 0 && value <= longestTimeoutMs)) throw outOfRange(what, name, value)
  return value
}

/** `Promise.withResolvers`, which Node 20 does not have. */
function withResolvers<T>() {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
