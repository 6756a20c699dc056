// The progress of work that takes minutes, and its cancellation.

/** How far the work is. */
export interface QuantizeProgress {
  /** What it is doing, such as `decoding images`. */
  readonly step: string
  readonly done: number
  readonly total: number
}

/** Tells the progress of each step, and stops between its parts. */
export class Steps {
  #step = ''
  #total = 0
  #done = 0

  constructor(
    private readonly tell: (progress: QuantizeProgress) => void,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** @throws the signal's reason */
  begin(step: string, total: number): void {
    this.#step = step
    this.#total = total
    this.#done = 0
    this.#report()
  }

  /** @throws the signal's reason */
  readonly advance = (count = 1): void => {
    this.#done += count
    this.#report()
  }

  #report(): void {
    this.signal?.throwIfAborted()
    this.tell({ step: this.#step, done: this.#done, total: this.#total })
  }
}
