// The images that a network is calibrated and compared with: chosen, decoded and preprocessed.
import { checkInteger, outOfRange, ResidualError, wrongType } from '../errors.ts'
import { decode } from '../image/decode.ts'
import { decodersAtOnce, decoding } from '../image/decoders.ts'
import { type Preprocessing, preprocess } from '../image/preprocess.ts'

/** An image, and the index of its class if that is known. */
export interface LabelledImage {
  /** A path, or the bytes of an encoded file. */
  readonly image: string | Uint8Array
  readonly label?: number
}

/** A preprocessed image, `[H,W,3]`, or what makes it from its file again. */
export type Pixels = Uint8Array | (() => Promise<Uint8Array>)

/** What an image comes to. Making it again rejects with what decoding it throws. */
export async function bytesOfImage(pixels: Pixels): Promise<Uint8Array> {
  return typeof pixels === 'function' ? pixels() : pixels
}

export interface PreparedImage {
  readonly pixels: Pixels
  readonly label: number | undefined
}

/** An image that could not be read or decoded. */
export interface UnreadableImage {
  /** Its path, or its number among those given, from 0. */
  readonly image: string
  readonly error: Error
}

export interface PreparedImages {
  readonly images: readonly PreparedImage[]
  readonly unreadable: readonly UnreadableImage[]
}

/** @throws TypeError, RangeError for something else, or a label that no class has */
export function checkLabelled(value: unknown, classes: number): LabelledImage[] {
  const isIterable = typeof value === 'object' && value !== null && Symbol.iterator in value
  if (!isIterable || ArrayBuffer.isView(value))
    throw wrongType('an array of images or of { image, label }', 'images', value)
  return Array.from(value as Iterable<unknown>, each => {
    if (typeof each === 'string' || each instanceof Uint8Array) return { image: each }
    const { image, label } = (each ?? {}) as Partial<LabelledImage>
    if (typeof image !== 'string' && !(image instanceof Uint8Array))
      throw wrongType('a path, the bytes of an image, or { image, label }', 'an image', each)
    if (label === undefined) return { image }
    return { image, label: checkInteger('label', label, 0, Math.max(classes, 2) - 1) }
  })
}

/** The same images in an order that looks random and depends on nothing but their number, so that each class is met early. */
export function shuffled<T>(items: readonly T[]): T[] {
  const result = [...items]
  let state = 0x9e3779b9
  for (let i = result.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0 // Numerical Recipes' generator; its upper bits are used
    const j = Math.floor((state / 2 ** 32) * (i + 1))
    ;[result[i], result[j]] = [result[j]!, result[i]!]
  }
  return result
}

/** How many images calibrate a network, and how many it is compared with afterwards. */
export interface Split {
  readonly calibrating: number
  readonly comparing: number
}

/**
 * As many as asked for; of too few, half and half.
 *
 * @throws RangeError for fewer than two
 */
export function splitOf(readable: number, samples: number, mostCompared: number): Split {
  if (readable < 2) throw outOfRange('at least 2 readable images', 'images', readable)
  const calibrating = Math.min(samples, Math.floor(readable / 2))
  return { calibrating, comparing: Math.min(readable - calibrating, mostCompared) }
}

export interface PrepareOptions {
  /** The most images to prepare. */
  readonly most: number
  /** Bytes of them to keep in memory: the images after those are made again whenever they are needed. */
  readonly mostBytes: number
  readonly preprocessing: Preprocessing
  readonly onImage: () => void
  readonly signal: AbortSignal | undefined
}

/**
 * Prepares images, in order; those that cannot be read or decoded are passed over and reported.
 *
 * @throws ResidualError OUT_OF_MEMORY; the signal's reason
 */
export async function prepareImages(
  given: readonly LabelledImage[],
  { most, mostBytes, preprocessing, onImage, signal }: PrepareOptions,
): Promise<PreparedImages> {
  const images: PreparedImage[] = []
  const unreadable: UnreadableImage[] = []
  const options = signal ? { signal } : {}
  const prepare = ({ image }: LabelledImage) =>
    decoding(async () => (await preprocess(await decode(image, options), preprocessing)).pixels, signal)
  let bytes = 0
  for (let begin = 0; begin < given.length && images.length < most; ) {
    const some = given.slice(begin, begin + Math.min(decodersAtOnce, most - images.length))
    const attempts = await Promise.allSettled(some.map(prepare))
    signal?.throwIfAborted()
    for (const [i, attempt] of attempts.entries()) {
      const its = some[i]!
      if (attempt.status === 'fulfilled') {
        bytes += attempt.value.length
        images.push({
          pixels: bytes <= mostBytes ? attempt.value : () => prepare(its),
          label: its.label,
        })
        onImage()
        continue
      }
      if (!isOfImage(attempt.reason)) throw attempt.reason
      const { image } = its
      unreadable.push({
        image: typeof image === 'string' ? image : `image ${begin + i}`,
        error: attempt.reason,
      })
    }
    begin += some.length
  }
  return { images, unreadable }
}

/** Whether it is the image's fault. */
const isOfImage = (error: unknown): error is ResidualError =>
  error instanceof ResidualError && error.code !== 'OUT_OF_MEMORY'
