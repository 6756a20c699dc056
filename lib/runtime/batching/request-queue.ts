// Requests waiting for a batch, in order of arrival, and the choice of images for the next one.
import type { Job, Part } from './batch-parts.ts'

const left = ({ images, taken }: Job) => images - taken

export class RequestQueue {
  readonly #jobs: Job[] = []
  #waiting = 0

  /** Images that no batch has taken yet. */
  get waiting(): number {
    return this.#waiting
  }

  push(job: Job): void {
    this.#jobs.push(job)
    this.#waiting += left(job)
  }

  /** Drops what still waits of a job, if anything does. */
  remove(job: Job): void {
    const at = this.#jobs.indexOf(job)
    if (at < 0) return
    this.#jobs.splice(at, 1)
    this.#waiting -= left(job)
  }

  /** When the next batch is to start: as soon as the oldest request has waited `maxWaitMs`, or at once if a batch is full. */
  due(maxBatch: number, maxWaitMs: number): number {
    const oldest = this.#jobs[0]
    if (!oldest) return Number.POSITIVE_INFINITY
    return this.#waiting >= maxBatch ? oldest.arrived : oldest.arrived + maxWaitMs
  }

  /**
   * Takes the next batch: one half of it is for the oldest requests, the other for those with the fewest images left. So small
   * requests pass large ones, and nobody waits more than twice as long as in order of arrival.
   */
  take(maxBatch: number): Part[] {
    const first = new Map<Job, number>() // of the images of each request that are in the batch
    let room = maxBatch
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
    take(this.#jobs, Math.ceil(room / 2))
    take(
      this.#jobs.toSorted((a, b) => left(a) - left(b)),
      room,
    )
    let kept = 0
    for (const job of this.#jobs) if (left(job) > 0) this.#jobs[kept++] = job
    this.#jobs.length = kept
    this.#waiting -= maxBatch - room
    return [...first].map(([job, from]) => ({ job, from, to: job.taken }))
  }
}
