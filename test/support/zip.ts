// Writes zips, and PyTorch checkpoints as zips or as older versions wrote them.
import { buffer } from 'node:stream/consumers'
import { ZipFile } from 'yazl'
import { dict, ops, pickle, type TorchTensor, torchTensor } from './pickle.ts'

export interface ZipOptions {
  readonly compress?: boolean
  readonly zip64?: boolean
}

/** A zip with these files. */
export function zip(files: Readonly<Record<string, Uint8Array>>, options: ZipOptions = {}): Promise<Buffer> {
  const file = new ZipFile()
  const { compress = false, zip64 = false } = options
  const mtime = new Date(0)
  for (const [name, bytes] of Object.entries(files))
    file.addBuffer(Buffer.from(bytes), name, { compress, mtime, forceZip64Format: zip64 })
  file.end({ forceZip64Format: zip64, comment: '' })
  return buffer(file.outputStream as NodeJS.ReadableStream)
}

/** A `.pth` of a pickle and storages by key. */
export function torchZip(
  data: Uint8Array,
  storages: Readonly<Record<string, Uint8Array>>,
  more: Readonly<Record<string, Uint8Array>> = {},
  options?: ZipOptions,
): Promise<Buffer> {
  const records = Object.entries(storages).map(([key, bytes]) => [`model/data/${key}`, bytes])
  return zip({ 'model/data.pkl': data, ...Object.fromEntries(records), ...more }, options)
}

/** A `.pth` of one tensor, `w`, and its storage. */
export function oneTensor(tensor: Omit<TorchTensor, 'key'>, storage: Uint8Array): Promise<Buffer> {
  return torchZip(pickle(dict({ w: torchTensor({ ...tensor, key: '0' }) })), { 0: storage })
}

/** What PyTorch before 1.6 wrote: `saved` is the pickle of what was saved, the storages have their elements' number with them. */
export function plainTorch(saved: Uint8Array, keys: Uint8Array, ...storages: readonly Uint8Array[]): Buffer {
  const magic = Buffer.from('8a0a6cfc9c46f9206aa850192e'.slice(0, 24), 'hex')
  return ops(
    pickle(magic),
    pickle('M\xe9\x03'),
    pickle(dict({ little_endian: '\x88' })),
    saved,
    keys,
    ...storages,
  )
}

/** A copy of a zip that says of no entry what its checksum is: what is damaged in it goes on to the reader of what is in it. */
export function withoutChecksums(zip: Buffer): Buffer {
  const bytes = Buffer.from(zip)
  const record = 'PK\x01\x02'
  for (let at = bytes.indexOf(record); at >= 0; at = bytes.indexOf(record, at + 1))
    bytes.writeUInt32LE(0, at + 16)
  return bytes
}
