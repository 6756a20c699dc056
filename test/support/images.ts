// Images for tests, and a reference resize: the slow, plain version.
import type { Image } from '../../lib/image/decode.ts'
import { seeded } from './files.ts'

/** Noise, which no filter treats kindly. */
export function noise(height: number, width: number, seed = 1): Image {
  const random = seeded(seed)
  return { data: Uint8Array.from({ length: height * width * 3 }, () => random() * 256), height, width }
}

/** An image whose pixel is `colour(y, x)`. */
export function image(
  height: number,
  width: number,
  colour: (y: number, x: number) => readonly [number, number, number],
): Image {
  const data = new Uint8Array(height * width * 3)
  for (let i = 0; i < height * width; i++) data.set(colour(Math.floor(i / width), i % width), i * 3)
  return { data, height, width }
}

/** The RGB of one pixel. */
export const pixel = ({ data, width }: Image, y: number, x: number): number[] =>
  Array.from(data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3))

const filters = {
  bilinear: (x: number) => Math.max(0, 1 - Math.abs(x)),
  // Keys, Cubic convolution interpolation (1981), a = -1/2.
  bicubic: (x: number) => {
    const d = Math.abs(x)
    if (d < 1) return 1.5 * d ** 3 - 2.5 * d ** 2 + 1
    return d < 2 ? -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2 : 0
  },
}

/** Antialiased resampling in float64, the width first; rounded to bytes after each way. */
export function resizeNaively(
  source: Image,
  size: { readonly height: number; readonly width: number },
  filter: keyof typeof filters,
): Image {
  const { height, width } = size
  const [columns, rows] = [taps(source.width, width, filter), taps(source.height, height, filter)]
  const narrow = new Uint8Array(source.height * width * 3)
  for (let i = 0; i < narrow.length; i++) {
    const [y, x, c] = [Math.floor(i / 3 / width), Math.floor(i / 3) % width, i % 3]
    narrow[i] = weigh(columns[x]!, from => source.data[(y * source.width + from) * 3 + c]!)
  }
  const data = new Uint8Array(height * width * 3)
  for (let i = 0; i < data.length; i++) {
    const [y, rest] = [Math.floor(i / 3 / width), i % (width * 3)]
    data[i] = weigh(rows[y]!, from => narrow[from * width * 3 + rest]!)
  }
  return { data, ...size }
}

interface Tap {
  readonly from: number
  readonly weight: number
}

/** For each result along one way, the sources that the filter, laid over all of them, gives a weight. */
function taps(from: number, to: number, filter: keyof typeof filters): Tap[][] {
  const stretch = Math.max(from / to, 1)
  return Array.from({ length: to }, (_, i) =>
    Array.from({ length: from }, (_, j) => {
      const distance = j + 0.5 - ((i + 0.5) * from) / to
      return { from: j, weight: filters[filter](distance / stretch) }
    }).filter(({ weight }) => weight !== 0),
  )
}

function weigh(taps: readonly Tap[], read: (from: number) => number): number {
  let [sum, weights] = [0, 0]
  for (const { from, weight } of taps) {
    sum += weight * read(from)
    weights += weight
  }
  return Math.min(255, Math.max(0, Math.round(sum / weights)))
}

/** How far two arrays of bytes are from each other. */
export function difference(actual: Uint8Array, expected: Uint8Array): { largest: number; mean: number } {
  if (actual.length !== expected.length) return { largest: Number.NaN, mean: Number.NaN }
  let [largest, sum] = [0, 0]
  for (const [i, value] of actual.entries()) {
    const distance = Math.abs(value - expected[i]!)
    largest = Math.max(largest, distance)
    sum += distance
  }
  return { largest, mean: sum / actual.length }
}
