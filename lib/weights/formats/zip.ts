// The entries of a zip file. yauzl reads the directory; the data is read by position, as it is stored.
import { Readable } from 'node:stream'
import type { Entry, RandomAccessReader, ZipFile } from 'yauzl'
import type { ResidualError } from '../../errors.ts'
import { invalidCheckpoint, refusedCheckpoint } from '../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../checkpoint/checkpoint-file.ts'
import { BufferedReader } from './buffered-reader.ts'
import { crc32 } from './crc32.ts'
import { CheckedBytes, checkSum } from './views/checked-bytes.ts'

const maxEntries = 200_000
const maxNameBytes = 1024
const pieceBytes = 1 << 20 // of an unpacked entry at a time

/** Whether a file that begins like this may be a zip. Both `.keras` and `.pth` files are zips. */
export function looksLikeZip(head: Uint8Array): boolean {
  return head[0] === 0x50 && head[1] === 0x4b && (head[2] === 3 || head[2] === 5) && head[3] === head[2] + 1
}

/** The directory of a zip. Made by {@link readZip}. */
export class Zip {
  constructor(
    readonly source: ByteSource,
    readonly entries: ReadonlyMap<string, Entry>,
    private readonly file: ZipFile,
  ) {}

  /**
   * Locates an entry's data.
   *
   * @throws ResidualError CHECKPOINT_INVALID, also if it is compressed or encrypted
   */
  async locate(entry: Entry, name: string): Promise<CheckedBytes> {
    if (entry.isEncrypted() || entry.compressionMethod !== 0)
      throw refusedCheckpoint(
        this.source,
        `its '${name}' is compressed or encrypted; torch.save stores data uncompressed`,
      )
    const { fileDataStart } = await this.file
      .readLocalFileHeaderPromise(entry, { minimal: true })
      .catch((cause: unknown) => {
        throw translated(this.source, cause)
      })
    return new CheckedBytes(fileDataStart, entry.compressedSize, name, entry.crc32)
  }

  /**
   * An entry's data, unpacked if it is compressed. yauzl checks that it has the size it claims.
   *
   * @throws ResidualError CHECKPOINT_INVALID, at the end also if the checksum does not match
   */
  async *unpack(entry: Entry, name: string): AsyncGenerator<Uint8Array, void> {
    let sum = 0
    try {
      // Attached in the same turn: an error on a stream without listeners ends the process.
      for await (const piece of await this.file.openReadStreamPromise(entry)) {
        sum = crc32(piece, sum)
        yield piece
      }
    } catch (cause) {
      throw translated(this.source, cause)
    }
    checkSum(this.source, name, sum, entry.crc32)
  }
}

/** @throws ResidualError FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID */
export async function readZip(source: ByteSource): Promise<Zip> {
  const { default: yauzl } = await import('yauzl')
  const reader = new (readerClass(yauzl.RandomAccessReader))(source)
  const options = { autoClose: false, lazyEntries: true, decodeStrings: false }
  const zip = await yauzl
    .fromRandomAccessReaderPromise(reader, source.size, options)
    .catch((cause: unknown) => {
      throw translated(source, cause)
    })
  return new Zip(source, await entriesOf(source, zip), zip)
}

async function entriesOf(source: ByteSource, zip: ZipFile): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>()
  if (zip.entryCount > maxEntries)
    throw invalidCheckpoint(source, `it has ${zip.entryCount} entries, more than ${maxEntries}`)
  let bytes = 0
  try {
    for await (const entry of zip.eachEntry()) {
      if (entry.fileNameLength > maxNameBytes)
        throw invalidCheckpoint(source, `an entry's name has ${entry.fileNameLength} bytes`)
      const name = (entry.fileName as unknown as Buffer).toString()
      if (entries.has(name)) throw invalidCheckpoint(source, `it has two entries named '${name}'`)
      entries.set(name, entry)
      bytes += entry.compressedSize
    }
  } catch (cause) {
    throw translated(source, cause)
  }
  // Entries that share data would have it read and checksummed once per entry.
  if (bytes > source.size)
    throw invalidCheckpoint(
      source,
      `its entries claim ${bytes} bytes together, but the file has ${source.size}`,
    )
  return entries
}

// yauzl calls back with a second argument, the number of bytes, which its types lack.
type Done = (error: Error | null, bytes?: number) => void

/** A buffered reader for yauzl. */
function readerClass(Base: typeof RandomAccessReader) {
  return class extends Base {
    readonly #window: BufferedReader

    constructor(private readonly source: ByteSource) {
      super()
      this.#window = new BufferedReader(source)
    }

    override read(buffer: Buffer, offset: number, length: number, position: number, done: Done): void {
      this.#fill(buffer.subarray(offset, offset + length), position).then(
        bytes => done(null, bytes),
        error => done(error),
      )
    }

    override _readStreamForRange(start: number, end: number): Readable {
      return Readable.from(readPieces(this.source, start, end), { objectMode: false })
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

async function* readPieces(source: ByteSource, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; at += pieceBytes) {
    const piece = Buffer.alloc(Math.min(pieceBytes, end - at))
    await source.read([piece], at)
    yield piece
  }
}

function translated(source: ByteSource, cause: unknown): ResidualError {
  if ((cause as ResidualError).name === 'ResidualError') return cause as ResidualError
  return invalidCheckpoint(source, `its zip directory cannot be read: ${(cause as Error).message}`, cause)
}
