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

/** An error about the file itself, in our own words. */
export class FileProblem extends Error {
  constructor(
    readonly reason: 'unreadable' | 'invalid',
    message: string,
  ) {
    super(message)
  }
}

/** An open file, or a part of it. The opener closes it. */
export class FileDevice {
  /** Bytes the library may still read: this ends its loops. */
  #budget = 0
  #failure: Error | undefined
  /** The library's last requests: two pieces at most. */
  #asked: Piece[] = []
  static #opened = 0
  readonly #number = ++FileDevice.#opened // the library takes open files with equal numbers for the same file
  /** Its path in the library's file system. */
  readonly devicePath = `/checkpoint-${this.#number}.h5`
  #closed = false

  constructor(
    private readonly descriptor: number,
    readonly offset: number,
    readonly size: number,
    private readonly signs: Int32Array,
  ) {}

  /** Adds it to the library's file system. */
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

  /** The piece that the library reads during `work`, if it is a single one and `work` succeeds. */
  askedBy(work: () => boolean): Piece | undefined {
    this.#asked = []
    return work() && this.#asked.length === 1 ? this.#asked[0] : undefined
  }

  /** @throws FileProblem if a read has failed since {@link allow} */
  check(): void {
    if (this.#failure) throw new FileProblem('unreadable', this.#failure.message)
  }

  /** Removes it. If the library still holds on to it, as with damaged files, it can read no more. */
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
        if (bytes === 0) break // truncated since it was opened: the library gets too few bytes
        done += bytes
      }
      return done
    } finally {
      Atomics.store(this.signs, sign.reading, 0)
    }
  }
}
