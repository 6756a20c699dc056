// GIFs as Pillow's `convert('RGB')` shows their first frame: the transparent colour is a palette colour like any other.

interface Frame {
  /** Its position on the canvas. */
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
  /** `[entries,3]`, RGB; empty where the file has none. */
  readonly palette: Uint8Array
  /** The index that is transparent. */
  readonly transparent: number | undefined
}

/** The canvas around the first frame, if the frame does not fill it. */
export interface Surroundings extends Pick<Frame, 'left' | 'top' | 'width' | 'height'> {
  readonly colour: Uint8Array // [3]
}

const screenBytes = 13 // of the header and the logical screen descriptor
const hasPalette = 0x80
const paletteBytes = (flags: number) => (flags & hasPalette ? 3 << ((flags & 7) + 1) : 0)

/**
 * Changes `file` in place so that no colour of its first frame is transparent: libvips would turn transparent pixels black
 * and lose their colour. A file without a palette is returned with a grey one, which is how Pillow reads its indices.
 *
 * @returns the file to decode, and the colour that Pillow puts around the frame: the transparent one, or the first. Unchanged if
 *   the file ends before its first frame
 */
export function withoutTransparency(file: Buffer): { file: Buffer; around?: Surroundings } {
  const frame = readFrame(file)
  if (!frame) return { file }
  const { palette, transparent = 0, ...place } = frame
  if (palette.length === 0)
    return { file: withGreys(file), around: { ...place, colour: new Uint8Array(3).fill(transparent) } }
  const colour = new Uint8Array(3) // black, if the palette ends before that index
  colour.set(palette.subarray(3 * transparent, 3 * transparent + 3))
  return { file, around: { ...place, colour } }
}

/** The first frame, with transparency switched off. */
function readFrame(file: Buffer): Frame | undefined {
  if (file.length < screenBytes) return undefined
  const screenFlags = file[10]!
  let at = screenBytes + paletteBytes(screenFlags)
  let palette: Uint8Array = file.subarray(screenBytes, at)
  let transparent: number | undefined
  while (at < file.length) {
    const kind = file[at]
    if (kind === 0x2c) {
      if (at + 10 > file.length) return undefined
      const flags = file[at + 9]!
      if (flags & hasPalette) palette = file.subarray(at + 10, at + 10 + paletteBytes(flags))
      const [left, top, width, height] = [1, 3, 5, 7].map(offset => file.readUInt16LE(at + offset)) as [
        number,
        number,
        number,
        number,
      ]
      return { left, top, width, height, palette, transparent }
    }
    if (kind !== 0x21) return undefined
    if (file[at + 1] === 0xf9 && file[at + 2]! >= 4 && at + 6 < file.length && file[at + 3]! & 1) {
      transparent = file[at + 6]!
      file[at + 3]! &= ~1
    }
    at += 2
    while (file[at]) at += file[at]! + 1 // sub-blocks, up to the empty one
    at++
  }
  return undefined
}

function withGreys(file: Buffer): Buffer {
  const greys = Buffer.from(Uint8Array.from({ length: 3 * 256 }, (_, i) => Math.floor(i / 3)))
  const screen = Buffer.from(file.subarray(0, screenBytes))
  screen[10]! |= hasPalette | 7
  return Buffer.concat([screen, greys, file.subarray(screenBytes)])
}

/**
 * Paints the canvas `[height,width,3]` around the first frame, a row per write: a canvas may be huge and its frame a single
 * pixel.
 */
export function paintAround(
  canvas: { readonly data: Uint8Array; readonly height: number; readonly width: number },
  { left, top, width, height, colour }: Surroundings,
): void {
  const [begin, end] = [Math.min(left, canvas.width), Math.min(left + width, canvas.width)]
  if (begin === 0 && end === canvas.width && top === 0 && height >= canvas.height) return
  const row = new Uint8Array(3 * canvas.width)
  for (let x = 0; x < canvas.width; x++) row.set(colour, 3 * x)
  for (let y = 0; y < canvas.height; y++) {
    const at = 3 * y * canvas.width
    const within = y >= top && y < top + height
    canvas.data.set(within ? row.subarray(3 * end) : row, within ? at + 3 * end : at)
    if (within) canvas.data.set(row.subarray(0, 3 * begin), at)
  }
}
