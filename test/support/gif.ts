// GIFs made byte by byte: palettes, a transparent index, a frame smaller than its canvas.
export type Colour = readonly [number, number, number]

export interface GifOptions {
  readonly width: number
  readonly height: number
  /** For the whole file; it has none if empty. Of 2, 4, 8 ... colours. */
  readonly palette: readonly Colour[]
  /** For the frame alone. */
  readonly local?: readonly Colour[]
  readonly transparent?: number
  /** The frame's place; all of the canvas unless given. */
  readonly frame?: {
    readonly left: number
    readonly top: number
    readonly width: number
    readonly height: number
  }
  /** The frame's pixels, row by row, each below 4. */
  readonly indices: readonly number[]
}

const word = (value: number) => [value & 255, value >> 8]
const flags = (palette: readonly Colour[]) =>
  palette.length > 0 ? 0x80 | (Math.log2(palette.length) - 1) : 0

export function gif({ width, height, palette, local = [], transparent, frame, indices }: GifOptions): Buffer {
  const place = frame ?? { left: 0, top: 0, width, height }
  const control = transparent === undefined ? [] : [0x21, 0xf9, 4, 1, 0, 0, transparent, 0]
  const comment = [0x21, 0xfe, 3, 0x2c, 0x2c, 0x2c, 0] // has what a frame begins with in it
  return Buffer.from([
    ...Buffer.from('GIF89a'),
    ...[...word(width), ...word(height), flags(palette), 1, 0], // the first colour but one is the background
    ...palette.flat(),
    ...control,
    ...comment,
    ...[
      0x2c,
      ...word(place.left),
      ...word(place.top),
      ...word(place.width),
      ...word(place.height),
      flags(local),
    ],
    ...local.flat(),
    ...lzw(indices),
    0x3b,
  ])
}

/** Codes of 3 bits that compress nothing: the table is cleared before it asks for longer ones. */
function lzw(indices: readonly number[]): number[] {
  const [clear, end] = [4, 5]
  const codes = indices.flatMap((index, i) => (i % 2 === 0 ? [clear, index] : [index]))
  const bits = [...codes, end].flatMap(code => [code & 1, (code >> 1) & 1, code >> 2])
  const bytes = Array.from({ length: Math.ceil(bits.length / 8) }, (_, i) =>
    bits.slice(i * 8, i * 8 + 8).reduce((byte, bit, at) => byte | (bit << at), 0),
  )
  return [2, bytes.length, ...bytes, 0]
}
