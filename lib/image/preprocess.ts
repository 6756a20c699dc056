// Preprocessing: the steps that a checkpoint was trained with turn an image into the network's input.
import { quoted, ResidualError } from '../errors.ts'
import { checkNormalization } from '../model/normalization.ts'
import { loadNative, translateError } from '../runtime/native.ts'
import { type Image, maxPixels } from './decode.ts'

interface Size {
  readonly height: number
  readonly width: number
}

/** One geometric step. Resizing is antialiased; a crop is taken from the centre. */
export type Step =
  | { readonly resize: { readonly shorterSide: number } | Size } //
  | { readonly crop: Size }

/** The preprocessing of a checkpoint: plain data that can be written to JSON. */
export interface Preprocessing {
  /** In order. The last must determine the size: a crop, or a resize to a height and a width. */
  readonly steps: readonly Step[]
  readonly interpolation: 'bilinear' | 'bicubic'
  /** Per channel, in the order of `channels`: the network takes `(byte / 255 * range - mean) / std`. */
  readonly mean: readonly number[]
  readonly std: readonly number[]
  /** The value of byte 255 before `mean` is subtracted: 1 if absent, 255 for bytes as they are. */
  readonly range?: number
  /** The channel order the network expects; RGB if absent. */
  readonly channels?: 'RGB' | 'BGR'
  /** How a crop's offset of half a pixel is rounded: to the even neighbour if absent, or down. */
  readonly cropRounding?: 'even' | 'down'
}

/** The preprocessing of most checkpoints trained on ImageNet: torchvision's `ImageClassification` preset. */
export const imagenet: Preprocessing = {
  steps: [{ resize: { shorterSide: 256 } }, { crop: { height: 224, width: 224 } }],
  interpolation: 'bilinear',
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
}

/**
 * The preprocessing of networks from Caffe and of keras.applications' ResNets: BGR, minus the mean of ImageNet. Keras leaves
 * the geometry to its users; this is the usual one.
 */
export const caffe: Preprocessing = {
  ...imagenet,
  range: 255,
  channels: 'BGR',
  mean: [103.939, 116.779, 123.68],
  std: [1, 1, 1],
}

/** A preprocessed image. */
export interface Prepared {
  /** `[height, width, 3]`, the size of the last step, in the order of `channels`. */
  readonly pixels: Uint8Array
  /**
   * The part of the original image that this shows, in that image's pixels; it extends past the edges where padding was needed.
   */
  readonly view: View
}

export interface View extends Size {
  readonly top: number
  readonly left: number
}

/** The size every image has after the last step. */
export function inputSize({ steps }: Preprocessing): Size {
  const last = steps.at(-1)!
  return 'crop' in last ? last.crop : (last.resize as Size)
}

/** The input of a plan: the size, and mean and standard deviation in units of byte / 255. */
export function inputOf(preprocessing: Preprocessing): Size & Pick<Preprocessing, 'mean' | 'std'> {
  const { mean, std, range = 1 } = preprocessing
  const scaled = (values: readonly number[]) => values.map(value => value / range)
  return { ...inputSize(preprocessing), mean: scaled(mean), std: scaled(std) }
}

/**
 * Applies the steps off the event loop. `image` is read until the promise settles, so the caller must not share its array.
 * Sizes are rounded as torchvision does, and offsets unless `cropRounding` says otherwise. A crop larger than its image is padded
 * with black.
 *
 * @throws ResidualError PICTURE_TOO_LARGE if a step would make the image too large
 */
export async function preprocess(
  image: Image,
  { steps, interpolation, channels, cropRounding }: Preprocessing,
): Promise<Prepared> {
  let current = image
  let view: View = { top: 0, left: 0, height: image.height, width: image.width }
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i]!
    if ('crop' in step) {
      const window = centre(current, step.crop, cropRounding)
      view = part(view, current, window)
      current = crop(current, window)
      continue
    }
    const size =
      'shorterSide' in step.resize ? withShorterSide(current, step.resize.shorterSide) : step.resize
    // A crop that follows is part of the same call, which computes only the pixels that are kept.
    const next = steps[i + 1]
    const fused = next && 'crop' in next && next.crop.height <= size.height && next.crop.width <= size.width
    const window = fused ? centre(size, next.crop, cropRounding) : { top: 0, left: 0, ...size }
    if (fused) i++
    view = part(view, size, window)
    current = await resize(current, size, window, interpolation)
  }
  return { pixels: channels === 'BGR' ? reversed(current.data) : current.data, view }
}

/** RGB as BGR. */
function reversed(pixels: Uint8Array): Uint8Array {
  const result = new Uint8Array(pixels.length)
  for (let i = 0; i < pixels.length; i += 3) {
    result[i] = pixels[i + 2]!
    result[i + 1] = pixels[i + 1]!
    result[i + 2] = pixels[i]!
  }
  return result
}

const maxExtent = 1 << 24 // the addon's limit

/**
 * Resizes to `size` and keeps `window` of the result. The caller must not share the image's array.
 *
 * @throws ResidualError PICTURE_TOO_LARGE
 */
export async function resize(
  { data, height, width }: Image,
  size: Size,
  window: View,
  filter: Preprocessing['interpolation'],
): Promise<Image> {
  if (size.height === height && size.width === width) return crop({ data, height, width }, window)
  // An image that is one pixel high can become very wide.
  if (Math.max(size.height, size.width) > maxExtent || window.height * window.width > maxPixels) {
    throw new ResidualError(
      'PICTURE_TOO_LARGE',
      `An image of ${height}x${width} would be resized to ${size.height}x${size.width}, which is too large. Crop it first.`,
    )
  }
  try {
    const pixels = await loadNative().resize(data, {
      height,
      width,
      outHeight: size.height,
      outWidth: size.width,
      top: window.top,
      left: window.left,
      cropHeight: window.height,
      cropWidth: window.width,
      filter,
      exclusive: true,
    })
    return { data: pixels, height: window.height, width: window.width }
  } catch (error) {
    throw translateError(error)
  }
}

/** The longer side is rounded down. */
function withShorterSide({ height, width }: Size, side: number): Size {
  const longer = (long: number, short: number) => Math.floor((side * long) / short)
  return width <= height
    ? { height: longer(height, width), width: side }
    : { height: side, width: longer(width, height) }
}

/** The window of `size` centred in `of`; its offset is negative if it is larger. */
function centre(of: Size, size: Size, rounding: Preprocessing['cropRounding'] = 'even'): View {
  const round = rounding === 'down' ? Math.floor : roundHalfToEven
  const offset = (extent: number, wanted: number) =>
    wanted > extent ? -Math.floor((wanted - extent) / 2) : round((extent - wanted) / 2)
  return { top: offset(of.height, size.height), left: offset(of.width, size.width), ...size }
}

/** Like Python's round(). */
function roundHalfToEven(x: number): number {
  return x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)
}

function crop({ data, height, width }: Image, window: View): Image {
  if (window.top === 0 && window.left === 0 && window.height === height && window.width === width) {
    return { data, height, width }
  }
  const result = new Uint8Array(window.height * window.width * 3)
  const left = Math.max(window.left, 0)
  const right = Math.min(window.left + window.width, width)
  for (let y = 0; y < window.height; y++) {
    const from = y + window.top
    if (from < 0 || from >= height || left >= right) continue
    const row = data.subarray((from * width + left) * 3, (from * width + right) * 3)
    result.set(row, (y * window.width + left - window.left) * 3)
  }
  return { data: result, height: window.height, width: window.width }
}

/** The part of `view` that `window` covers, given an image of `size` that shows all of `view`. */
function part(view: View, size: Size, window: View): View {
  const [y, x] = [view.height / size.height, view.width / size.width]
  return {
    top: view.top + window.top * y,
    left: view.left + window.left * x,
    height: window.height * y,
    width: window.width * x,
  }
}

const maxSide = 1 << 14 // of a step's result: images of 0.8 GB, as for decoding

/**
 * Checks a record read from `source`.
 *
 * @throws ResidualError MODEL_INVALID naming the invalid member
 */
export function parsePreprocessing(json: unknown, source: string): Preprocessing {
  const fail = (what: string) => new ResidualError('MODEL_INVALID', `The preprocessing in ${source} ${what}.`)
  if (typeof json !== 'object' || json === null) throw fail('is not an object')
  const { steps, interpolation, mean, std, range, channels, cropRounding, ...others } = json as {
    [key: string]: unknown
  }
  const other = Object.keys(others).find(name => name !== 'comment')
  if (other !== undefined) throw fail(`has the unknown member ${quoted(other)}`)
  if (!Array.isArray(steps) || steps.length === 0) throw fail("has no 'steps'")
  for (const step of steps) if (!isStep(step)) throw fail(`has the invalid step ${quoted(step)}`)
  if ('shorterSide' in (steps.at(-1).resize ?? {}))
    throw fail('ends with a step that leaves the size undetermined')
  if (interpolation !== 'bilinear' && interpolation !== 'bicubic') {
    throw fail("has an 'interpolation' that is neither 'bilinear' nor 'bicubic'")
  }
  if (!isTriple(mean)) throw fail("has a 'mean' that is not three numbers")
  if (!isTriple(std) || std.some(value => value <= 0))
    throw fail("has a 'std' that is not three positive numbers")
  if (range !== undefined && !(typeof range === 'number' && range > 0 && range < Number.POSITIVE_INFINITY))
    throw fail("has a 'range' that is not a positive number")
  if (channels !== undefined && channels !== 'RGB' && channels !== 'BGR')
    throw fail("has 'channels' that are neither 'RGB' nor 'BGR'")
  if (cropRounding !== undefined && cropRounding !== 'even' && cropRounding !== 'down')
    throw fail("has a 'cropRounding' that is neither 'even' nor 'down'")
  const parsed: Preprocessing = {
    ...{ steps, interpolation, mean, std },
    ...(range && { range }),
    ...(channels && { channels }),
    ...(cropRounding && { cropRounding }),
  }
  try {
    const input = inputOf(parsed)
    checkNormalization(input.mean, input.std, 3)
  } catch (cause) {
    throw fail(`cannot be applied: ${(cause as Error).message}`)
  }
  return parsed
}

function isStep(step: unknown): step is Step {
  const { resize, crop } = (step ?? {}) as { [key: string]: { [key: string]: unknown } | null | undefined }
  const members = resize ?? crop
  if (typeof members !== 'object' || members === null || Object.keys(step as object).length > 1) return false
  const expected = resize && 'shorterSide' in members ? ['shorterSide'] : ['height', 'width']
  const isSide = (value: unknown) =>
    Number.isInteger(value) && (value as number) >= 1 && (value as number) <= maxSide
  return Object.keys(members).length === expected.length && expected.every(key => isSide(members[key]))
}

function isTriple(value: unknown): value is number[] {
  return Array.isArray(value) && value.length === 3 && value.every(Number.isFinite)
}
