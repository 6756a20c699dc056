// Where in a `.keras` file are the weights? It is a zip of the configuration and an HDF5 file, which is stored as it is as a rule.
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Entry, ZipFile } from 'yauzl'
import { ResidualError } from '../../errors.ts'
import { invalidCheckpoint } from '../checkpoint-error.ts'
import { type ByteSource, openCheckpointFile } from '../checkpoint-file.ts'

export const archiveFormat = 'Keras archive'

const weightsName = 'model.weights.h5'
const maxEntries = 10_000 // assets, each
const maxTextBytes = 16 << 20 // a ResNet-152's configuration has half a megabyte
const maxExpansion = 16 // of weights that are compressed: they hardly shrink
const pieceBytes = 1 << 20

/** What is found in a `.keras` file. */
export interface KerasArchive {
  /** JSON as it is in the file; empty where it is not there. */
  readonly config: string
  readonly metadata: string
  /** Where in the file the weights are, or the name of an unpacked copy: whoever has opened that calls `discard`. */
  readonly weights:
    | { readonly offset: number; readonly length: number }
    | { readonly path: string; discard(): Promise<void> }
}

/** @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID, FILE_WRITE_FAILED where there is no room to unpack */
export async function readKerasArchive(path: string): Promise<KerasArchive> {
  const file = await openCheckpointFile(path, archiveFormat)
  try {
    return await readEntries(file)
  } catch (error) {
    if (error instanceof ResidualError) throw error
    throw invalidCheckpoint(file, (error as Error).message, error)
  } finally {
    await file.close()
  }
}

async function readEntries(file: ByteSource): Promise<KerasArchive> {
  const zip = await openZip(file)
  const entries = new Map<string, Entry>()
  for await (const entry of zip.eachEntry()) {
    if (entries.size >= maxEntries) throw invalidCheckpoint(file, `it has more than ${maxEntries} entries`)
    if (entries.has(entry.fileName)) throw invalidCheckpoint(file, `it has '${entry.fileName}' twice`)
    entries.set(entry.fileName, entry)
  }
  const weights = entries.get(weightsName)
  if (!weights) throw invalidCheckpoint(file, `it has no '${weightsName}'`)
  if (weights.isEncrypted()) throw invalidCheckpoint(file, 'it is encrypted')
  const text = async (name: string) => {
    const entry = entries.get(name)
    if (!entry) return ''
    if (entry.uncompressedSize > maxTextBytes)
      throw invalidCheckpoint(
        file,
        `its '${name}' has ${entry.uncompressedSize} bytes, more than ${maxTextBytes}`,
      )
    const pieces: Buffer[] = []
    for await (const piece of await zip.openReadStreamPromise(entry)) pieces.push(piece)
    return Buffer.concat(pieces).toString('utf8')
  }
  const [config, metadata] = [await text('config.json'), await text('metadata.json')]
  if (weights.compressionMethod !== 0) return { config, metadata, weights: await unpack(file, zip, weights) }
  const { fileDataStart: offset } = await zip.readLocalFileHeaderPromise(weights, { minimal: true })
  return { config, metadata, weights: { offset, length: weights.compressedSize } }
}

async function unpack(file: ByteSource, zip: ZipFile, entry: Entry): Promise<KerasArchive['weights']> {
  const { compressedSize, uncompressedSize } = entry
  if (uncompressedSize > maxExpansion * compressedSize + pieceBytes)
    throw invalidCheckpoint(
      file,
      `its weights are said to grow from ${compressedSize} bytes to ${uncompressedSize}`,
    )
  const folder = await mkdtemp(join(tmpdir(), 'residual-keras-')).catch(cause => {
    throw unwritable(cause)
  })
  const discard = () => rm(folder, { recursive: true, force: true })
  const path = join(folder, weightsName)
  let failure: Error | undefined
  try {
    const stream = await zip.openReadStreamPromise(entry)
    // Listened to in the same turn: an error of a stream that nobody listens to ends the process.
    const target = createWriteStream(path, { mode: 0o600 })
    target.on('error', error => {
      failure ??= 'syscall' in error ? error : undefined
    })
    await pipeline(stream, target)
    return { path, discard }
  } catch (cause) {
    await discard()
    throw failure ? unwritable(failure) : cause
  }
}

const unwritable = (cause: Error) =>
  new ResidualError(
    'FILE_WRITE_FAILED',
    `The compressed weights cannot be unpacked to ${tmpdir()}: ${cause.message}.`,
    {
      cause,
    },
  )

/** yauzl checks that entries have the sizes they claim. It is loaded on first use. */
async function openZip(file: ByteSource): Promise<ZipFile> {
  const { default: yauzl } = await import('yauzl')
  class Reader extends yauzl.RandomAccessReader {
    override _readStreamForRange(start: number, end: number): Readable {
      return Readable.from(readPieces(file, start, end), { objectMode: false })
    }
  }
  return await yauzl.fromRandomAccessReaderPromise(new Reader(), file.size, {
    lazyEntries: true,
    autoClose: false,
  })
}

async function* readPieces(file: ByteSource, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; at += pieceBytes) {
    const piece = Buffer.alloc(Math.min(pieceBytes, end - at))
    await file.read([piece], at)
    yield piece
  }
}
