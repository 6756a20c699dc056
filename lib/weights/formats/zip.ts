// Where in a zip file are its entries? The library reads the directory; the data is read by position, as it is stored.
import { Readable } from 'node:stream'
import type { Entry, RandomAccessReader, ZipFile } from 'yauzl'
import type { ResidualError } from '../../errors.ts'
import { invalidCheckpoint, refusedCheckpoint } from '../checkpoint-error.ts'
import { type ByteSource, openCheckpointFile } from '../checkpoint-file.ts'
import { FileBytes } from './pickle/values.ts'
import { FileWindow } from './window.ts'

const maxEntries = 200_000
const maxNameBytes = 1024

/** Whether a file that begins like this may be a zip. A `.keras` file is one as well as a `.pth`: {@link zipNames} tells. */
export function looksLikeZip(head: Uint8Array): boolean {
  return head[0] === 0x50 && head[1] === 0x4b && (head[2] === 3 || head[2] === 5) && head[3] === head[2] + 1
}

/**
 * The names of a zip file's entries.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID
 */
export async function zipNames(path: string): Promise<string[]> {
  const source = await openCheckpointFile(path, 'zip')
  try {
    return [...(await readZip(source)).entries.keys()]
  } finally {
    await source.close()
  }
}

/** The directory of a zip. */
export interface Zip {
  readonly entries: ReadonlyMap<string, Entry>
  /**
   * Where an entry's data is.
   *
   * @throws ResidualError CHECKPOINT_INVALID, also where it is compressed or encrypted
   */
  locate(entry: Entry, name: string): Promise<FileBytes>
}

/** @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID */
export async function readZip(source: ByteSource): Promise<Zip> {
  const { default: yauzl } = await import('yauzl')
  const reader = new (readerClass(yauzl.RandomAccessReader))(source)
  const options = { autoClose: false, lazyEntries: true, decodeStrings: false }
  const zip = await yauzl
    .fromRandomAccessReaderPromise(reader, source.size, options)
    .catch((cause: unknown) => {
      throw translated(source, cause)
    })
  return {
    entries: await entriesOf(source, zip),
    locate: async (entry, name) => {
      if (entry.isEncrypted() || entry.compressionMethod !== 0)
        throw refusedCheckpoint(
          source,
          `'${name}' in it is compressed or encrypted; torch.save stores data as it is`,
        )
      const { fileDataStart } = await zip
        .readLocalFileHeaderPromise(entry, { minimal: true })
        .catch((cause: unknown) => {
          throw translated(source, cause)
        })
      return new FileBytes(fileDataStart, entry.compressedSize)
    },
  }
}

async function entriesOf(source: ByteSource, zip: ZipFile): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>()
  if (zip.entryCount > maxEntries)
    throw invalidCheckpoint(source, `it has ${zip.entryCount} entries, more than ${maxEntries}`)
  try {
    for await (const entry of zip.eachEntry()) {
      if (entry.fileNameLength > maxNameBytes)
        throw invalidCheckpoint(source, `an entry's name has ${entry.fileNameLength} bytes`)
      const name = (entry.fileName as unknown as Buffer).toString()
      if (entries.has(name)) throw invalidCheckpoint(source, `it has two entries named '${name}'`)
      entries.set(name, entry)
    }
  } catch (cause) {
    throw translated(source, cause)
  }
  return entries
}

// The library calls back with a second argument, the number of bytes, that its types do not have.
type Done = (error: Error | null, bytes?: number) => void

/** What gives the library bytes, most of them without asking the system. */
function readerClass(Base: typeof RandomAccessReader) {
  return class extends Base {
    readonly #window: FileWindow

    constructor(private readonly source: ByteSource) {
      super()
      this.#window = new FileWindow(source)
    }

    override read(buffer: Buffer, offset: number, length: number, position: number, done: Done): void {
      this.#fill(buffer.subarray(offset, offset + length), position).then(
        bytes => done(null, bytes),
        error => done(error),
      )
    }

    /** Only compressed entries would be read as streams. */
    override _readStreamForRange(): Readable {
      return Readable.from([])
    }

    async #fill(target: Buffer, position: number): Promise<number> {
      const window = this.#window
      if (position + target.length > this.source.size) return 0
      if (!window.has(position, target.length)) await window.load(position)
      if (window.has(position, target.length)) window.bytes.copy(target, 0, position - window.start)
      else await this.source.read([target], position)
      return target.length
    }
  }
}

function translated(source: ByteSource, cause: unknown): ResidualError {
  if ((cause as ResidualError).name === 'ResidualError') return cause as ResidualError
  return invalidCheckpoint(source, `its zip directory cannot be read: ${(cause as Error).message}`, cause)
}
