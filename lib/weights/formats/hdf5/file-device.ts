// The one file that the HDF5 library can see: a file, or part of one, read on demand. The library has an in-memory file system of
// its own, and only this file of it leads outside. External links, external raw data and virtual datasets of a hostile file lead
// nowhere.
import { readSync } from 'node:fs'
import { sign } from './messages.ts'

interface Stream {
  position: number
}

/** Bytes of a file. */
export interface Piece {
  readonly position: number
  readonly length: number
}

/** The part of emscripten's file system that is used: https://emscripten.org/docs/api_reference/Filesystem-API.html. */
export interface FileSystem {
  writeFile(path: string, data: Uint8Array): void
  unlink(path: string): void
  lookupPath(path: string): { readonly node: Node }
  readonly ErrnoError: new (errno: number) => Error
}

interface Node {
  readonly id: number
  readonly mode: number
  node_ops: object
  stream_ops: object
}

const ioError = 29 // EIO, as WASI numbers it

/** A message about the file itself, in which nothing of the library's is to be seen. */
export class FileProblem extends Error {
  constructor(
    readonly reason: 'unreadable' | 'invalid',
    message: string,
  ) {
    super(message)
  }
}

/** An open file, or a part of it. Whoever opened it closes it. */
export class FileDevice {
  /** What the library may still read: a loop in it ends here. */
  #budget = 0
  #failure: Error | undefined
  /** What the library has asked for last: two pieces at most. */
  #asked: Piece[] = []
  static #opened = 0
  readonly #number = ++FileDevice.#opened // the library takes two open files with the same number for one
  /** Where the library finds it. */
  readonly devicePath = `/checkpoint-${this.#number}.h5`
  #closed = false

  constructor(
    private readonly descriptor: number,
    readonly offset: number,
    readonly size: number,
    private readonly signs: Int32Array,
  ) {}

  /** Puts it where the library finds it. */
  mount(fs: FileSystem): void {
    fs.writeFile(this.devicePath, new Uint8Array(0))
    const { node } = fs.lookupPath(this.devicePath)
    const time = new Date(0)
    const about = { dev: 1, ino: this.#number, nlink: 1, uid: 0, gid: 0, rdev: 0, blksize: 4096, blocks: 1 }
    node.node_ops = {
      getattr: () => ({ ...about, mode: node.mode, size: this.size, atime: time, mtime: time, ctime: time }),
    }
    node.stream_ops = {
      read: (_: Stream, memory: Uint8Array, at: number, length: number, position: number) => {
        const count = Math.max(Math.min(length, this.size - position), 0)
        this.#budget -= count
        if (this.#asked.length < 2) this.#asked.push({ position, length: count })
        if (this.#closed || this.#budget < 0) throw new fs.ErrnoError(ioError)
        try {
          return this.#read(memory, at, count, position)
        } catch (error) {
          this.#failure = error as Error
          throw new fs.ErrnoError(ioError)
        }
      },
      llseek: (stream: Stream, offset: number, whence: number) =>
        offset + (whence === 1 ? stream.position : whence === 2 ? this.size : 0),
    }
  }

  /** Lets the library read `bytes` from now on. */
  allow(bytes: number): void {
    this.#budget = bytes
    this.#failure = undefined
  }

  /** What the library asks for while it does that, if it is one piece and comes to a good end. */
  askedBy(work: () => boolean): Piece | undefined {
    this.#asked = []
    return work() && this.#asked.length === 1 ? this.#asked[0] : undefined
  }

  /** @throws FileProblem where the system failed to read since {@link allow} */
  check(): void {
    if (this.#failure) throw new FileProblem('unreadable', this.#failure.message)
  }

  /** What of it the library has not let go of, as of damaged files, it can read no more. */
  close(fs: FileSystem): void {
    this.#closed = true
    fs.unlink(this.devicePath)
  }

  #read(memory: Uint8Array, at: number, count: number, position: number): number {
    Atomics.store(this.signs, sign.reading, 1)
    try {
      let done = 0
      while (done < count) {
        const bytes = readSync(
          this.descriptor,
          memory,
          at + done,
          count - done,
          this.offset + position + done,
        )
        if (bytes === 0) break // cut since it was opened: the library finds too little
        done += bytes
      }
      return done
    } finally {
      Atomics.store(this.signs, sign.reading, 0)
    }
  }
}
