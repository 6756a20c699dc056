// Class activation maps: where in an image the network saw a class (Zhou et al., https://arxiv.org/abs/1512.04150).
import type { Image } from './decode.ts'
import { resize, type View } from './preprocess.ts'

const opacity = 0.55 // of the map over the image

/** From cold to hot: dark blue, violet, red, orange, light yellow. Lightness rises throughout. */
const ramp = [
  [13, 8, 65],
  [95, 20, 140],
  [190, 50, 95],
  [245, 130, 35],
  [252, 253, 170],
] as const

/**
 * How strongly each position indicates a class: the feature maps weighted by the class's row of the classifier.
 *
 * @param featureMaps `[height,width,channels]` of one image
 * @param weights the class's row, `[channels]`
 * @returns `[height,width]`, in units of the logit times height times width
 */
export function activationMap(
  featureMaps: Float32Array,
  { height, width, channels }: { height: number; width: number; channels: number },
  weights: Float32Array,
): Float32Array {
  const map = new Float32Array(height * width)
  for (let pixel = 0; pixel < map.length; pixel++) {
    let sum = 0
    for (let c = 0; c < channels; c++) sum += featureMaps[pixel * channels + c]! * weights[c]!
    map[pixel] = sum
  }
  return map
}

/**
 * A PNG of `image` with `map` over the part that the network saw, scaled from its smallest to its largest value.
 *
 * @param view what the network saw, from {@link preprocess}
 */
export async function overlay(
  image: Image,
  view: View,
  map: Float32Array,
  size: { readonly height: number; readonly width: number },
): Promise<Buffer> {
  const full = { height: Math.max(1, Math.round(view.height)), width: Math.max(1, Math.round(view.width)) }
  // Rounding must not push a view smaller than a pixel past the edge.
  const origin = {
    top: Math.min(Math.round(view.top), image.height - 1),
    left: Math.min(Math.round(view.left), image.width - 1),
  }
  // A padded view extends past the image's edges.
  const top = Math.max(-origin.top, 0)
  const left = Math.max(-origin.left, 0)
  const window = {
    top,
    left,
    height: Math.min(full.height - top, image.height - Math.max(origin.top, 0)),
    width: Math.min(full.width - left, image.width - Math.max(origin.left, 0)),
  }
  const levels = await resize({ data: toLevels(map), ...size }, full, window, 'bicubic')
  const heat = {
    input: colour(levels.data),
    raw: { width: window.width, height: window.height, channels: 4 as const },
  }
  const { default: sharp } = await import('sharp') // as in decode.ts: only on first use
  return sharp(image.data, { raw: { width: image.width, height: image.height, channels: 3 } })
    .composite([{ ...heat, top: Math.max(origin.top, 0), left: Math.max(origin.left, 0) }])
    .png()
    .toBuffer()
}

/** The map as grey RGB, its smallest value 0 and its largest 255. A flat map is 0. */
function toLevels(map: Float32Array): Uint8Array {
  const least = map.reduce((a, b) => Math.min(a, b))
  const range = map.reduce((a, b) => Math.max(a, b)) - least || 1
  return Uint8Array.from({ length: map.length * 3 }, (_, i) =>
    Math.round((255 * (map[Math.floor(i / 3)]! - least)) / range),
  )
}

/** Maps grey RGB levels to RGBA of the ramp, one write per pixel: photographs have millions. */
function colour(levels: Uint8Array): Buffer {
  const palette = new Uint32Array(256) // [256,4] bytes
  const bytes = new Uint8Array(palette.buffer)
  for (let level = 0; level < 256; level++) {
    const at = (level / 255) * (ramp.length - 1)
    const i = Math.min(Math.floor(at), ramp.length - 2)
    const channel = (c: 0 | 1 | 2) => Math.round(ramp[i]![c] + (at - i) * (ramp[i + 1]![c] - ramp[i]![c]))
    bytes.set([channel(0), channel(1), channel(2), Math.round(255 * opacity)], level * 4)
  }
  const result = new Uint32Array(levels.length / 3)
  for (let pixel = 0; pixel < result.length; pixel++) result[pixel] = palette[levels[pixel * 3]!]!
  return Buffer.from(result.buffer)
}
