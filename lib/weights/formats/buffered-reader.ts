// Buffered reading of small fields, without a system call for each.
import type { ByteSource } from '../checkpoint/checkpoint-file.ts'

const windowBytes = 64 << 10

/** A piece of a file, moved to where it is asked for. */
export class BufferedReader {
  /** What of the file is in memory; it begins at `start`. */
  bytes: Buffer = Buffer.alloc(0)
  start = 0
  #memory: Buffer | undefined

  /** `end` is where reading stops though the file may go on. */
  constructor(
    private readonly source: ByteSource,
    readonly end = source.size,
  ) {}

  has(position: number, length: number): boolean {
    return position >= this.start && position + length <= this.start + this.bytes.length
  }

  /** Moves the window to begin at `position`. Less than 64 KiB are in it only where the end comes first. */
  async load(position: number): Promise<void> {
    this.#memory ??= Buffer.alloc(Math.min(windowBytes, this.end))
    const bytes = this.#memory.subarray(0, Math.max(Math.min(windowBytes, this.end - position), 0))
    await this.source.read([bytes], position)
    this.bytes = bytes
    this.start = position
  }
}
