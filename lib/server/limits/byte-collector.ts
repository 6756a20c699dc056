// Many small chunks collected into one body, without keeping a buffer per chunk, which would take far more memory.

const mostAhead = 2 ** 20 // bytes allocated for an announced body, which may never arrive
const blockBytes = 2 ** 16

/** The received part of a body. */
export class ByteCollector {
  #length = 0
  readonly #parts: Buffer[] = []
  /** The buffer that parts are copied to: all parts of an announced body, otherwise small ones. */
  #block: Buffer | undefined
  #filled = 0

  /** For a body of `announced` bytes, or 0 for unknown. */
  constructor(readonly announced = 0) {}

  get length(): number {
    return this.#length
  }

  add(part: Buffer): void {
    if (this.#length === 0 && part.length < this.announced && this.announced <= mostAhead)
      this.#block = Buffer.allocUnsafeSlow(this.announced)
    this.#length += part.length
    // A large part is kept as it is, unless it is a view that retains much more memory than its own.
    if (!this.#fits(part) && part.length * 2 >= part.buffer.byteLength) {
      this.#closeBlock()
      this.#parts.push(part)
    } else this.#copy(part)
  }

  /** The whole body. Call it once, at the end. */
  whole(): Buffer {
    this.#closeBlock()
    return this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
  }

  #fits(part: Buffer): boolean {
    return this.#block !== undefined && part.length <= this.#block.length - this.#filled
  }

  #copy(part: Buffer): void {
    for (let rest = part; rest.length > 0; ) {
      if (this.#block === undefined || this.#filled === this.#block.length) {
        this.#closeBlock()
        this.#block = Buffer.allocUnsafeSlow(blockBytes)
      }
      const copied = rest.copy(this.#block, this.#filled)
      this.#filled += copied
      rest = rest.subarray(copied)
    }
  }

  #closeBlock(): void {
    if (this.#block && this.#filled > 0) this.#parts.push(this.#block.subarray(0, this.#filled))
    this.#block = undefined
    this.#filled = 0
  }
}
