// Turns: so many pieces of work at a time, and the others in the order in which they came.

export class Turns {
  #free: number
  /** What waits: those that came since `#next` was filled, and before it those whose turn comes first, the first one last. */
  readonly #waiting: (() => void)[] = []
  #next: (() => void)[] = []

  constructor(atOnce: number) {
    this.#free = atOnce
  }

  /** Begins `work` when it is its turn, which is at the next microtask at the earliest, and comes to what it comes to. */
  async take<Result>(work: () => Promise<Result>): Promise<Result> {
    await this.#turn()
    try {
      return await work()
    } finally {
      if (this.#next.length === 0) this.#next = this.#waiting.splice(0).reverse()
      const next = this.#next.pop()
      if (next) next()
      else this.#free++
    }
  }

  #turn(): Promise<void> | undefined {
    if (this.#free === 0) return new Promise(resolve => this.#waiting.push(resolve))
    this.#free--
    return undefined
  }
}
