// The image formats that are decoded, recognised by their first bytes, and hints about common ones that are not.

/** A kind of file that is decoded. */
export interface Format {
  readonly name: string
  /** Whether a file begins like one. */
  readonly begins: (head: Buffer) => boolean
  /** Whether a file has its end. Asked of those that cannot be decoded: some readers forgive what is missing there. */
  readonly isWhole: (file: Buffer) => boolean
}

/** Bytes that tell every kind. */
export const headBytes = 1024

const starts =
  (...beginnings: (string | number[])[]) =>
  (head: Buffer) =>
    beginnings.some(bytes => {
      const beginning = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes)
      return beginning.equals(head.subarray(0, beginning.length))
    })

const ascii = (file: Buffer, from: number, to: number) => file.toString('latin1', from, to)

/** The brands of an ISO media file, the one it is foremost of first. */
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
 * What is decoded. libvips reads more, such as SVG, which can refer to other files and take any time to be drawn; nothing but
 * these gets to it.
 */
export const formats: readonly Format[] = [
  {
    name: 'JPEG',
    begins: starts([0xff, 0xd8, 0xff]),
    // A thumbnail has an end of its own, before the scan of the image begins.
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
    isWhole: () => true, // its parts may be anywhere
  },
  { name: 'AVIF', begins: hasBrand('avif', 'avis'), isWhole: () => true },
]

/** Of a file that begins so; undefined where it is none of {@link formats}. */
export function formatOf(head: Buffer): Format | undefined {
  return formats.find(({ begins }) => begins(head))
}

const isText = (head: Buffer) =>
  !/[^\t\n\f\r\x20-\xff]/.test(head.toString('latin1').replace(/^\xff\xfe|^\xfe\xff/, ''))
const looksLike = (pattern: RegExp) => (head: Buffer) => isText(head) && pattern.test(head.toString('latin1'))

/** What is met where an image is expected, and what to do about it; the first that fits. */
const others: readonly { is: (head: Buffer) => boolean; what: string }[] = [
  { is: head => head.length === 0, what: 'it is empty' },
  {
    is: hasBrand('heic', 'heix', 'heim', 'heis', 'hevc', 'hevx', 'mif1', 'msf1'),
    what: 'it is HEIC, which is not decoded. Convert it to JPEG',
  },
  { is: starts('BM'), what: 'it is BMP, which is not decoded. Convert it to PNG' },
  {
    is: starts([0xff, 0x0a], [0, 0, 0, 0x0c, 0x4a, 0x58, 0x4c, 0x20]),
    what: 'it is JPEG XL, which is not decoded. Convert it to PNG',
  },
  {
    is: starts([0, 0, 0, 0x0c, 0x6a, 0x50, 0x20, 0x20], [0xff, 0x4f, 0xff, 0x51]),
    what: 'it is JPEG 2000, which is not decoded. Convert it to PNG',
  },
  { is: starts('%PDF'), what: 'it is PDF. Convert a page of it to PNG' },
  {
    is: looksLike(/<svg[\s>]/i),
    what: 'it is SVG, a drawing that any program could be in. Draw it first, to a PNG',
  },
  { is: looksLike(/<(?:!doctype )?html[\s>]/i), what: 'it is a page of HTML, not an image' },
  {
    is: looksLike(/^version https:\/\/git-lfs\.github\.com/),
    what: 'it is a pointer of Git LFS. `git lfs pull` brings the image',
  },
  { is: isText, what: 'it is text, not an image' },
]

/** Why a file that is none of {@link formats} is not decoded: the end of a sentence. */
export function notAFormat(head: Buffer): string {
  const known = others.find(({ is }) => is(head))
  return known ? known.what : `it is none of ${formats.map(({ name }) => name).join(', ')}`
}
