// Opening what torch.save writes: a zip of a pickle and storages, or, before 1.6, pickles and storages in a row.

import { closingOnError } from '../../../files/closing-on-error.ts'
import { invalidCheckpoint, refusedCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import { type ByteSource, openCheckpointFile } from '../../checkpoint/checkpoint-file.ts'
import { readPickle } from '../pickle/read-pickle.ts'
import { persistentOf } from '../pickle/torch-globals.ts'
import type { Storage } from '../views/stored-data.ts'
import type { ViewCheckpoint } from '../views/view-checkpoint.ts'
import { looksLikeZip, readZip, type Zip } from '../zip.ts'
import { openPlainPyTorch } from './plain.ts'
import { checkpointOf } from './storages.ts'

// The pickle of the number 0x1950a86a20f9469cfc6c, the same in every protocol.
const plainMagic = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]

const maxByteOrderBytes = 16

/**
 * Whether a file that begins like this (16 bytes, 262 for the oldest format) may be PyTorch's. For zips see {@link looksLikeZip}.
 */
export function looksLikePyTorch(head: Uint8Array): boolean {
  return looksLikeZip(head) || isPlain(head) || isTar(head)
}

/**
 * Opens a `.pth` or `.pt` file. Close it after use.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID
 */
export async function openPyTorch(path: string): Promise<ViewCheckpoint> {
  return readPyTorch(await openCheckpointFile(path, 'PyTorch'))
}

/** Like {@link openPyTorch}, from an open file, which is closed if it is not such a file. */
export function readPyTorch(file: ByteSource): Promise<ViewCheckpoint> {
  return closingOnError(file, async source => {
    const head = new Uint8Array(Math.min(source.size, 262))
    await source.read([head], 0)
    if (isTar(head))
      throw refusedCheckpoint(
        source,
        'it is a tar archive, as PyTorch wrote before 0.2; save it again with a newer PyTorch',
      )
    if (isPlain(head)) return openPlainPyTorch(source)
    if (looksLikeZip(head)) return await readPyTorchZip(source, await readZip(source))
    throw invalidCheckpoint(
      source,
      'it begins neither like a zip nor with the magic number of the older format',
    )
  })
}

/** Like {@link openPyTorch}, from a zip whose directory has been read. Only the result closes it. */
export async function readPyTorchZip(source: ByteSource, zip: Zip): Promise<ViewCheckpoint> {
  const root = rootOf(source, zip)
  const pickle = await zip.locate(zip.entries.get(`${root}/data.pkl`)!, 'data.pkl')
  await pickle.check(source)
  const parsed = await readPickle(source, persistentOf, pickle.at, pickle.at + pickle.length)
  const swapped = (await byteOrder(source, zip, root)) === 'big'
  const locate = async (storage: Storage) => {
    const name = `${root}/data/${storage.key}`
    const entry = zip.entries.get(name)
    if (!entry) throw invalidCheckpoint(source, `it has no '${name}', where a tensor's numbers should be`)
    return zip.locate(entry, name)
  }
  return checkpointOf(source, 'PyTorch (zip)', parsed, locate, swapped)
}

function rootOf(source: ByteSource, { entries }: Zip): string {
  const names = [...entries.keys()]
  const roots = names
    .filter(name => /^[^/]+\/data\.pkl$/.test(name))
    .map(name => name.slice(0, name.indexOf('/')))
  if (roots.length !== 1)
    throw invalidCheckpoint(source, `it is a zip with ${roots.length} entries */data.pkl`)
  const root = roots[0]!
  if (names.some(name => name === `${root}/constants.pkl` || name.startsWith(`${root}/code/`)))
    throw refusedCheckpoint(
      source,
      'it is a TorchScript archive; load it with torch.jit.load and save its state_dict()',
    )
  return root
}

async function byteOrder(source: ByteSource, zip: Zip, root: string): Promise<string> {
  const entry = zip.entries.get(`${root}/byteorder`)
  if (!entry) return 'little'
  const located = await zip.locate(entry, 'byteorder')
  await located.check(source)
  const bytes = Buffer.alloc(Math.min(located.length, maxByteOrderBytes))
  await source.read([bytes], located.at)
  const order = bytes.toString('latin1')
  if (order !== 'little' && order !== 'big')
    throw invalidCheckpoint(source, `it has the unknown byte order '${order}'`)
  return order
}

function isPlain(head: Uint8Array): boolean {
  return head[0] === 0x80 && plainMagic.every((byte, i) => head[i + 2] === byte)
}

function isTar(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(257, 262)).toString('latin1') === 'ustar'
}
