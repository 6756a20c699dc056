// Buffered reading of small fields, without a system call for each.
import type { ByteSource } from '../checkpoint/checkpoint-file.ts'

const windowBytes = 64 << 10

/** A window onto a file, moved on demand. */
export class BufferedReader {
  /** The part of the file in memory, from `start` on. */
  bytes: Buffer = Buffer.alloc(0)
  start = 0
  #memory: Buffer | undefined

  /** Reading stops at `end`, even if the file continues. */
  constructor(
    private readonly source: ByteSource,
    readonly end = source.size,
  ) {}

  has(position: number, length: number): boolean {
    return position >= this.start && position + length <= this.start + this.bytes.length
  }

  /** Moves the window to `position`. It holds less than 64 KiB only at the end. */
  async load(position: number): Promise<void> {
    this.#memory ??= Buffer.alloc(Math.min(windowBytes, this.end))
    const bytes = this.#memory.subarray(0, Math.max(Math.min(windowBytes, this.end - position), 0))
    await this.source.read([bytes], position)
    this.bytes = bytes
    this.start = position
  }
}
