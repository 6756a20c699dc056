// The batch sizes that a GPU compiles: each on first use, once, and one at a time.

export class BatchSizes {
  readonly #ready = new Set<number>()
  readonly #underWay = new Map<number, Promise<void>>()
  #last: Promise<unknown> = Promise.resolve()

  /** `sizes`: ascending; none where nothing is compiled. `compile` makes one ready. */
  constructor(
    readonly sizes: readonly number[],
    readonly compile: (size: number) => Promise<void>,
  ) {}

  /**
   * Compiles what a batch of `images` takes and is not ready: undefined where all is. Rejects with what `compile` does, for all who
   * wait for that size; whoever comes later tries again.
   */
  missing(images: number): Promise<unknown> | undefined {
    const missing = this.#taken(images).filter(size => !this.#ready.has(size))
    return missing.length === 0 ? undefined : Promise.all(missing.map(size => this.#compiled(size)))
  }

  /** As native/cuda/cuda_backend.cc cuts a batch: by the largest size, and what is left fills the least that has room for it. */
  #taken(images: number): number[] {
    const largest = this.sizes.at(-1)
    if (largest === undefined) return []
    const rest = images % largest
    const last = rest > 0 ? [this.sizes.find(size => size >= rest)!] : []
    return images >= largest ? [largest, ...last] : last
  }

  #compiled(size: number): Promise<void> {
    const underWay = this.#underWay.get(size)
    if (underWay) return underWay
    const compiling = this.#last
      .then(() => this.compile(size))
      .then(() => void this.#ready.add(size))
      .finally(() => this.#underWay.delete(size))
    this.#last = compiling.catch(() => {})
    this.#underWay.set(size, compiling)
    return compiling
  }
}
