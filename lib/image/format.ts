// The image formats that are decoded, recognised by their first bytes, and hints about common ones that are not.

/** A file format that is decoded. */
export interface Format {
  readonly name: string
  /** Whether a file begins like one of this format. */
  readonly begins: (head: Buffer) => boolean
  /** Whether a file is complete. Only checked when decoding fails, since some readers tolerate a missing end. */
  readonly isWhole: (file: Buffer) => boolean
}

/** Enough bytes to recognise every format. */
export const headBytes = 1024

const starts =
  (...beginnings: (string | number[])[]) =>
  (head: Buffer) =>
    beginnings.some(bytes => {
      const beginning = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes)
      return beginning.equals(head.subarray(0, beginning.length))
    })

const ascii = (file: Buffer, from: number, to: number) => file.toString('latin1', from, to)

/** The brands of an ISO media file, the major brand first. */
function brands(head: Buffer): string[] {
  if (ascii(head, 4, 8) !== 'ftyp') return []
  const end = Math.min(head.readUInt32BE(0), head.length)
  const found = [ascii(head, 8, 12)]
  for (let at = 16; at + 4 <= end; at += 4) found.push(ascii(head, at, at + 4)) // after the minor version
  return found
}

const hasBrand =
  (...wanted: string[]) =>
  (head: Buffer) =>
    brands(head).some(brand => wanted.includes(brand))

/**
 * The formats that are decoded. libvips reads more, such as SVG, which can refer to other files and take forever to render; it
 * is given only these.
 */
export const formats: readonly Format[] = [
  {
    name: 'JPEG',
    begins: starts([0xff, 0xd8, 0xff]),
    // A thumbnail has an end marker of its own, before the image's scan begins.
    isWhole: file =>
      file.lastIndexOf('\xff\xd9', undefined, 'latin1') > file.lastIndexOf('\xff\xda', undefined, 'latin1'),
  },
  {
    name: 'PNG',
    begins: starts([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    isWhole: file => file.includes('IEND', undefined, 'latin1'),
  },
  {
    name: 'WebP',
    begins: head => ascii(head, 0, 4) === 'RIFF' && ascii(head, 8, 12) === 'WEBP',
    isWhole: file => file.length >= 8 && file.length >= 8 + file.readUInt32LE(4),
  },
  {
    name: 'GIF',
    begins: starts('GIF87a', 'GIF89a'),
    isWhole: file => file.findLast(byte => byte !== 0) === 0x3b, // some writers pad
  },
  {
    name: 'TIFF',
    begins: starts(
      [0x49, 0x49, 0x2a, 0],
      [0x4d, 0x4d, 0, 0x2a],
      [0x49, 0x49, 0x2b, 0],
      [0x4d, 0x4d, 0, 0x2b],
    ),
    isWhole: () => true, // its parts can be anywhere in the file
  },
  { name: 'AVIF', begins: hasBrand('avif', 'avis'), isWhole: () => true },
]

/** The format of a file that begins with `head`; undefined if it is not one of {@link formats}. */
export function formatOf(head: Buffer): Format | undefined {
  return formats.find(({ begins }) => begins(head))
}

const isText = (head: Buffer) =>
  !/[^\t\n\f\r\x20-\xff]/.test(head.toString('latin1').replace(/^\xff\xfe|^\xfe\xff/, ''))
const looksLike = (pattern: RegExp) => (head: Buffer) => isText(head) && pattern.test(head.toString('latin1'))

/** Other files commonly passed as images, and what to do about them; the first match counts. */
const others: readonly { is: (head: Buffer) => boolean; what: string }[] = [
  { is: head => head.length === 0, what: 'it is empty' },
  {
    is: hasBrand('heic', 'heix', 'heim', 'heis', 'hevc', 'hevx', 'mif1', 'msf1'),
    what: 'it is HEIC, which is not supported. Convert it to JPEG',
  },
  { is: starts([0, 0, 1, 0]), what: 'it is ICO, which is not supported. Convert it to PNG' },
  { is: starts('BM'), what: 'it is BMP, which is not supported. Convert it to PNG' },
  {
    is: starts([0xff, 0x0a], [0, 0, 0, 0x0c, 0x4a, 0x58, 0x4c, 0x20]),
    what: 'it is JPEG XL, which is not supported. Convert it to PNG',
  },
  {
    is: starts([0, 0, 0, 0x0c, 0x6a, 0x50, 0x20, 0x20], [0xff, 0x4f, 0xff, 0x51]),
    what: 'it is JPEG 2000, which is not supported. Convert it to PNG',
  },
  { is: starts('%PDF'), what: 'it is a PDF. Convert a page of it to PNG' },
  {
    is: looksLike(/<svg[\s/>]/i),
    what: 'it is SVG, which is not supported because it can contain scripts. Render it to PNG first',
  },
  { is: looksLike(/<(?:!doctype )?html[\s>]/i), what: 'it is an HTML page, not an image' },
  {
    is: looksLike(/^version https:\/\/git-lfs\.github\.com/),
    what: 'it is a Git LFS pointer. Run `git lfs pull` to fetch the image',
  },
  { is: isText, what: 'it is text, not an image' },
]

/** Why a file is not one of {@link formats}: the end of a sentence. */
export function notAFormat(head: Buffer): string {
  const known = others.find(({ is }) => is(head))
  return known
    ? known.what
    : `it is not in a supported format (${formats.map(({ name }) => name).join(', ')})`
}
