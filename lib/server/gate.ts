// How is a task kept from being done too often at a time? It passes a gate, in order of arrival.
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
   * Runs `task` when it is its turn, unless `signal` is aborted before.
   *
   * @throws ResidualError QUEUE_FULL, the signal's reason, or what the task throws
   */
  async run<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    if (this.#running >= this.atOnce) await this.#turn(signal)
    else this.#running++
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
      const message = `${this.#waiting.length} pictures wait to be decoded, as many as may. Try again later.`
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
