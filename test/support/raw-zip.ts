// Builds a zip byte by byte, following https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
import { crc32 } from '../../lib/weights/formats/crc32.ts'

export interface ZipEntry {
  readonly bytes: Uint8Array
  /** The same, as raw deflate data. Without it the entry is stored. */
  readonly deflated?: Uint8Array
}

/** The bytes of a zip of these files. */
export function zip(files: { readonly [name: string]: ZipEntry }): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let at = 0
  for (const [name, { bytes, deflated }] of Object.entries(files)) {
    const data = deflated ?? bytes
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0) // version
    common.writeUInt16LE(deflated ? 8 : 0, 4)
    common.writeUInt32LE(crc32(bytes), 10)
    common.writeUInt32LE(data.length, 14)
    common.writeUInt32LE(bytes.length, 18)
    common.writeUInt16LE(name.length, 22)
    const local = [Buffer.from('PK\x03\x04'), common, Buffer.from(name), Buffer.from(data)]
    const rest = Buffer.alloc(14) // comment, disk, attributes
    rest.writeUInt32LE(at, 10)
    directory.push(Buffer.from('PK\x01\x02\x14\x00', 'latin1'), common, rest, Buffer.from(name))
    parts.push(...local)
    at += local.reduce((sum, { length }) => sum + length, 0)
  }
  const end = Buffer.alloc(18)
  const count = Object.keys(files).length
  end.writeUInt16LE(count, 4)
  end.writeUInt16LE(count, 6)
  end.writeUInt32LE(
    directory.reduce((sum, { length }) => sum + length, 0),
    8,
  )
  end.writeUInt32LE(at, 12)
  return Buffer.concat([...parts, ...directory, Buffer.from('PK\x05\x06'), end])
}
