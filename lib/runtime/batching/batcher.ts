// A queue that combines many small requests into a few large batches. Requests wait until a batch is full or the oldest has waited
// long enough; the next batch fills while one runs.

import { isFloat32Array, isUint8Array } from 'node:util/types'
import { checkNames, checkSignal } from '../../base/options.ts'
import { outOfRange, ResidualError, wrongType } from '../../errors.ts'
import { elements, inputShape, type OutputName, type Plan } from '../../model/plan.ts'
import { checkOutputs, type Outputs } from '../session.ts'
import { answer, type BatchAnswer, type Job, joined, type Part, type Pixels } from './batch-parts.ts'
import {
  type BatcherOptions,
  type BatchRequest,
  type BatchRunner,
  type CheckedBatcherOptions,
  checkBatcherOptions,
  checkMs,
  checkRunners,
  requestNames,
} from './batcher-options.ts'
import { imageBytes, takesBytes } from './image-bytes.ts'
import { RequestQueue } from './request-queue.ts'

/** Puts requests together to batches for one or several sessions of the same plan. The sessions stay the caller's. */
export class Batcher {
  readonly #options: CheckedBatcherOptions
  readonly #plan: Plan
  readonly #perImage: number
  /** Bytes and floats cannot share a batch. */
  readonly #queues = { bytes: new RequestQueue(), floats: new RequestQueue() }
  /** A session is in it once for every run that it may yet begin. */
  readonly #free: BatchRunner[]
  /** The queue that the last batch was of. */
  #last: RequestQueue | undefined
  #running = 0
  #timer: NodeJS.Timeout | undefined
  #closed: Promise<void> | undefined
  #drained = () => {}

  /** @throws TypeError, RangeError for options that do not exist */
  constructor(runners: readonly BatchRunner[], options: BatcherOptions = {}) {
    checkRunners(runners)
    this.#options = checkBatcherOptions(options)
    this.#plan = runners[0]!.plan
    this.#perImage = elements(inputShape(this.#plan))
    this.#free = runners.flatMap(runner => Array<BatchRunner>(runner.concurrency).fill(runner))
  }

  /** Images that wait for a batch. */
  get waiting(): number {
    return this.#queues.bytes.waiting + this.#queues.floats.waiting
  }

  /**
   * Runs the network on images `[N,H,W,3]` (as `Session.run` takes them), together with others' or in several batches; the
   * results are those of a run alone, to the bit. `pixels` must stay as they are until the promise settles.
   *
   * @throws ResidualError QUEUE_FULL, QUEUE_CLOSED, DEADLINE_EXCEEDED, INPUT_OUT_OF_RANGE, or what `Session.run` throws
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
    this.#checkRoom(images)
    let taken = pixels
    if (isFloat32Array(pixels) && takesBytes(this.#plan)) {
      taken = await imageBytes(this.#plan, pixels)
      signal?.throwIfAborted()
      this.#checkRoom(images) // others came meanwhile
    }

    const { promise, resolve, reject } = withResolvers<BatchAnswer<OutputName>>()
    const job: Job = {
      pixels: taken,
      images,
      outputs,
      arrived: performance.now(),
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
      timeoutMs === undefined ? undefined : setTimeout(() => this.#expire(job, timeoutMs), timeoutMs)
    this.#queueOf(job).push(job)
    this.#pump()
    try {
      return (await promise) as BatchAnswer<Name>
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
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

  #checkRoom(images: number): void {
    const { waiting } = this
    const { maxQueue } = this.#options
    if (this.#closed) throw new ResidualError('QUEUE_CLOSED', 'The queue is closing. Try another server.')
    if (waiting + images > maxQueue) {
      throw new ResidualError(
        'QUEUE_FULL',
        `The queue is full: ${waiting} images wait, ${images} more would exceed the limit of ${maxQueue}. Try again later.`,
      )
    }
  }

  #queueOf({ pixels }: Job): RequestQueue {
    return isUint8Array(pixels) ? this.#queues.bytes : this.#queues.floats
  }

  #expire(job: Job, timeoutMs: number): void {
    const message = `The request was not finished within ${timeoutMs} ms. Allow more time, or try again later.`
    this.#drop(job, new ResidualError('DEADLINE_EXCEEDED', message))
  }

  /** Takes what still waits of a job out of the queue. What is under way runs on; its results are nobody's. */
  #drop(job: Job, error: unknown): void {
    this.#queueOf(job).remove(job)
    job.reject(error)
    this.#settleClose()
  }

  /** Starts every batch that may start now, and sees to it that the next one will. */
  #pump(): void {
    clearTimeout(this.#timer)
    while (this.#free.length > 0 && this.waiting > 0) {
      const now = performance.now()
      const [soonest, due] = this.#soonest(now)
      if (due > now) {
        this.#timer = setTimeout(() => this.#pump(), Math.ceil(due - now))
        return
      }
      this.#last = soonest
      void this.#runBatch(this.#free.shift()!, soonest.take(this.#options.maxBatch))
    }
  }

  /** The queue whose next batch must start first, and when. Where both are due they take turns. */
  #soonest(now: number): readonly [RequestQueue, number] {
    const { bytes, floats } = this.#queues
    const { maxBatch } = this.#options
    const maxWaitMs = this.#closed ? 0 : this.#options.maxWaitMs
    const [dueBytes, dueFloats] = [bytes.due(maxBatch, maxWaitMs), floats.due(maxBatch, maxWaitMs)]
    const bytesFirst =
      this.#last && Math.max(dueBytes, dueFloats) <= now ? this.#last === floats : dueBytes <= dueFloats
    return bytesFirst ? [bytes, dueBytes] : [floats, dueFloats]
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
        'as many elements as when it was passed',
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
      this.#options.onBatch?.(batch)
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : `onBatch threw ${String(error)}`)
    }
  }

  #settleClose(): void {
    if (this.#closed && this.waiting === 0 && this.#running === 0) this.#drained()
  }
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
