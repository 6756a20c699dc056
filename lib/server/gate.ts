// How is a task kept from being done too often at a time? It passes a gate, in order of arrival. Whoever waits for it may stop
// waiting; the place is free once the task has really ended.
import { ResidualError } from '../errors.ts'

export class Gate {
  #running = 0
  readonly #waiting: (() => void)[] = []

  /** Lets `atOnce` tasks run while up to `maxWaiting` wait. */
  constructor(
    readonly atOnce: number,
    readonly maxWaiting: number,
  ) {}

  get waiting(): number {
    return this.#waiting.length
  }

  /**
   * Runs `task` when it is its turn, unless `signal` is aborted before. Aborted while it runs, the promise rejects at once, and
   * the task keeps its place until it has ended.
   *
   * @throws ResidualError QUEUE_FULL, the signal's reason, or what the task throws
   */
  async run<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    if (this.#running >= this.atOnce) await this.#turn(signal)
    else this.#running++
    return unlessAborted(this.#inPlace(task, signal), signal)
  }

  async #inPlace<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      signal.throwIfAborted()
      return await task()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running--
    }
  }

  /** Waits until another task hands its place on. */
  #turn(signal: AbortSignal): Promise<void> {
    if (this.#waiting.length >= this.maxWaiting) {
      const message = `${this.#waiting.length} pictures and bodies wait to be unpacked, as many as may. Try again later.`
      throw new ResidualError('QUEUE_FULL', message)
    }
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1)
        reject(signal.reason)
      }
      this.#waiting.push(enter)
      signal.addEventListener('abort', leave, { once: true })
    })
  }
}

/** What `work` comes to, or the reason of `signal` if that is aborted sooner. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
  })
}
