// CRC-32, the checksum of zip files: Node's own from 20.15 and 22.2 on, otherwise a table.
import zlib from 'node:zlib'

type Crc32 = (bytes: Uint8Array, before?: number) => number

/** The CRC-32 of `bytes`; or, with `before`, that of earlier data continued by `bytes`. */
export const crc32: Crc32 = (zlib as { crc32?: Crc32 }).crc32 ?? crc32ByTable

let table: Int32Array | undefined

/** Like {@link crc32}, ten times slower. */
export function crc32ByTable(bytes: Uint8Array, before = 0): number {
  table ??= Int32Array.from({ length: 256 }, (_, byte) => {
    for (let bit = 0; bit < 8; bit++) byte = (byte >>> 1) ^ (byte & 1 ? 0xedb88320 : 0)
    return byte
  })
  let crc = ~before
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 255]!
  return ~crc >>> 0
}
