// Pauses in long work of this thread, in which other work has its turn.
import { setImmediate } from 'node:timers/promises'

/** Work goes on for so long between two pauses. */
const mostMs = 10

export class Pauses {
  #due = performance.now() + mostMs

  /** To be called after each small part of the work: it comes to a pause if the last one is long ago. */
  async take(): Promise<void> {
    if (performance.now() < this.#due) return
    await setImmediate()
    this.#due = performance.now() + mostMs
  }
}
