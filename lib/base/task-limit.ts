// A limit on how many tasks run at a time. Requests take turns, so that one with many tasks does not hold up those behind it. A
// waiting task can be cancelled; a running one keeps its slot until it has really ended.
import { ResidualError } from '../errors.ts'

export class TaskLimit {
  #running = 0
  /** Waiting tasks by their request's signal; the request whose turn is next comes first. */
  readonly #lanes = new Map<AbortSignal, (() => void)[]>()
  #waiting = 0

  /** Lets `atOnce` tasks run while up to `maxWaiting` wait. */
  constructor(
    readonly atOnce: number,
    readonly maxWaiting: number,
  ) {}

  get waiting(): number {
    return this.#waiting
  }

  /**
   * Runs `task` in its turn unless `signal`, its request's, is aborted first. If it is aborted during the task, the promise
   * rejects at once, but the task keeps its slot until it ends.
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
      const next = this.#next()
      if (next) next()
      else this.#running--
    }
  }

  /** The next waiting task; its request goes to the end of the line. */
  #next(): (() => void) | undefined {
    for (const [signal, lane] of this.#lanes) {
      const enter = lane.shift()
      this.#lanes.delete(signal)
      if (lane.length > 0) this.#lanes.set(signal, lane)
      this.#waiting--
      return enter
    }
    return undefined
  }

  /** Waits until another task hands over its slot. */
  #turn(signal: AbortSignal): Promise<void> {
    if (this.#waiting >= this.maxWaiting) {
      const message = `The decoding queue is full: ${this.#waiting} images and bodies waiting. Try again later.`
      throw new ResidualError('QUEUE_FULL', message)
    }
    const lane = this.#lanes.get(signal) ?? []
    this.#lanes.set(signal, lane)
    this.#waiting++
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        lane.splice(lane.indexOf(enter), 1)
        if (lane.length === 0) this.#lanes.delete(signal)
        this.#waiting--
        reject(signal.reason)
      }
      lane.push(enter)
      signal.addEventListener('abort', leave, { once: true })
    })
  }
}

/** The outcome of `work`, or a rejection with the signal's reason if that is aborted first. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
  })
}
