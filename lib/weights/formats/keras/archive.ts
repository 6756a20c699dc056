// The `.keras` archive: a zip of the configuration and an HDF5 file of weights, which is usually stored uncompressed.
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Entry } from 'yauzl'
import { ResidualError } from '../../../errors.ts'
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { CheckedBytes } from '../views/checked-bytes.ts'
import type { Zip } from '../zip.ts'

const configName = 'config.json'
const weightsName = 'model.weights.h5'
const maxTextBytes = 16 << 20 // a ResNet-152's configuration has half a megabyte
const maxExpansion = 16 // of compressed weights, which hardly shrink
const floorBytes = 1 << 20 // small ones may expand more

/** The contents of a `.keras` file. */
export interface KerasArchive {
  /** The JSON text from the file; empty if missing. */
  readonly config: string
  readonly metadata: string
  /** Where in the file the weights are, or the path of an unpacked copy: call `discard` after opening that. */
  readonly weights: CheckedBytes | UnpackedWeights
}

export interface UnpackedWeights {
  readonly path: string
  discard(): Promise<void>
}

/** Whether a zip is a `.keras` file. */
export function isKerasArchive({ entries }: Zip): boolean {
  return entries.has(configName) && entries.has(weightsName)
}

/** @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID, FILE_WRITE_FAILED if there is no room to unpack */
export async function readKerasArchive(zip: Zip): Promise<KerasArchive> {
  const weights = zip.entries.get(weightsName)
  if (!weights) throw invalidCheckpoint(zip.source, `it has no '${weightsName}'`)
  if (weights.isEncrypted()) throw invalidCheckpoint(zip.source, 'it is encrypted')
  const [config, metadata] = [await textOf(zip, configName), await textOf(zip, 'metadata.json')]
  if (weights.compressionMethod !== 0) return { config, metadata, weights: await unpack(zip, weights) }
  const stored = await zip.locate(weights, weightsName)
  await stored.check(zip.source)
  return { config, metadata, weights: stored }
}

async function textOf(zip: Zip, name: string): Promise<string> {
  const entry = zip.entries.get(name)
  if (!entry) return ''
  const { uncompressedSize: bytes } = entry
  if (bytes > maxTextBytes)
    throw invalidCheckpoint(zip.source, `its '${name}' has ${bytes} bytes, more than ${maxTextBytes}`)
  const pieces: Uint8Array[] = []
  for await (const piece of zip.unpack(entry, name)) pieces.push(piece)
  return Buffer.concat(pieces).toString('utf8')
}

async function unpack(zip: Zip, entry: Entry): Promise<UnpackedWeights> {
  const { compressedSize, uncompressedSize } = entry
  if (uncompressedSize > maxExpansion * compressedSize + floorBytes)
    throw invalidCheckpoint(
      zip.source,
      `its weights claim to unpack from ${compressedSize} bytes to ${uncompressedSize}`,
    )
  const folder = await mkdtemp(join(tmpdir(), 'residual-keras-')).catch(cause => {
    throw unwritable(cause)
  })
  const discard = () => rm(folder, { recursive: true, force: true })
  const path = join(folder, weightsName)
  let failure: Error | undefined
  try {
    const target = createWriteStream(path, { mode: 0o600 })
    target.on('error', error => {
      failure ??= 'syscall' in error ? error : undefined
    })
    await pipeline(zip.unpack(entry, weightsName), target)
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
