// Partial downloads: a file next to the final one, and a note of what it is part of.
import { type FileHandle, open, readFile, rm, writeFile } from 'node:fs/promises'
import { notWritten } from '../files/atomic-file.ts'

/** What the server said of the file that this is the beginning of. */
export interface PartNote {
  readonly url: string
  /** A strong validator: without one, a download cannot be resumed. */
  readonly etag?: string
  readonly bytes?: number
  readonly sha256?: string
}

/** Any method: @throws ResidualError FILE_WRITE_FAILED; the bytes received so far remain */
export class Part {
  /** Bytes in the file. */
  received: number
  note: PartNote | undefined

  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    received: number,
    note: PartNote | undefined,
  ) {
    this.received = received
    this.note = note
  }

  /** The part file of `path`, as an earlier download left it, or empty. */
  static async open(path: string): Promise<Part> {
    const file = `${path}.part`
    return await writing(file, async () => {
      const handle = await open(file, 'a')
      const { size } = await handle.stat()
      return new Part(file, handle, size, await readNote(file))
    })
  }

  /** Discards the bytes; the next ones are the beginning of the file that `note` describes. */
  async restart(note: PartNote | undefined): Promise<void> {
    await writing(this.path, async () => {
      if (this.received > 0) await this.handle.truncate(0)
      this.received = 0
      this.note = note
      if (note) await writeFile(noteOf(this.path), JSON.stringify(note))
      else await rm(noteOf(this.path), { force: true })
    })
  }

  async write(bytes: Uint8Array): Promise<void> {
    await writing(this.path, async () => {
      let offset = 0
      while (offset < bytes.length) {
        const { bytesWritten } = await this.handle.write(bytes, offset)
        offset += bytesWritten
        this.received += bytesWritten
      }
    })
  }

  /** Flushes the bytes to disk, so that they survive a power failure. */
  async sync(): Promise<void> {
    await writing(this.path, () => this.handle.sync())
  }

  async close(): Promise<void> {
    await this.handle.close()
  }

  async removeNote(): Promise<void> {
    await rm(noteOf(this.path), { force: true })
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true })
    await this.removeNote()
  }
}

const noteOf = (path: string) => `${path}.json`

async function readNote(path: string): Promise<PartNote | undefined> {
  try {
    const note = JSON.parse(await readFile(noteOf(path), 'utf8'))
    return isNote(note) ? note : undefined
  } catch {
    return undefined // no note, or half of one: the download starts over
  }
}

function isNote(note: { [key in keyof PartNote]: unknown } | null): note is PartNote {
  const { url, etag, bytes, sha256 } = note ?? {}
  return (
    typeof url === 'string' &&
    (etag === undefined || isStrongEtag(etag)) &&
    (bytes === undefined || Number.isSafeInteger(bytes)) &&
    (sha256 === undefined || typeof sha256 === 'string')
  )
}

/** Whether answers with this `ETag` are identical to the byte (RFC 9110, 8.8.3), and it can be sent back unchanged. */
export function isStrongEtag(etag: unknown): etag is string {
  return typeof etag === 'string' && /^"[\x21\x23-\x7e]*"$/.test(etag)
}

async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw notWritten(path, cause)
  }
}
