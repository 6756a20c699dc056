// Decoding the images of a request, a few at a time.
import { setMaxListeners } from 'node:events'
import type { TaskLimit } from '../../base/task-limit.ts'
import type { Classifier } from '../../classifier.ts'
import { ResidualError } from '../../errors.ts'
import type { Prepared } from '../../image/preprocess.ts'

export class ImageDecoder {
  readonly #limit: TaskLimit
  readonly #maxPixels: number

  /** `limit` bounds how many images are decoded at a time. */
  constructor(limit: TaskLimit, maxPixels: number) {
    this.#limit = limit
    this.#maxPixels = maxPixels
  }

  /**
   * Decodes and preprocesses images.
   *
   * @throws ResidualError DECODE_FAILED, PICTURE_TOO_LARGE for the first that cannot be decoded, QUEUE_FULL, or the signal's
   *   reason
   */
  async prepare(
    classifier: Classifier,
    images: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<Prepared[]> {
    const failure = new AbortController() // the first failure cancels the rest
    const either = AbortSignal.any([signal, failure.signal])
    setMaxListeners(0, either)
    try {
      return await Promise.all(images.map(image => this.prepareOne(classifier, image, either)))
    } catch (error) {
      failure.abort(error)
      throw error
    }
  }

  prepareOne(classifier: Classifier, image: Uint8Array, signal: AbortSignal): Promise<Prepared> {
    return this.#limit.run(async () => {
      if (!formats.some(({ is }) => is(image))) {
        const names = formats.map(({ name }) => name).join(', ')
        const other = otherFormats.find(({ is }) => is(image))?.name
        const found = other
          ? `The image of ${image.length} bytes is ${other}, which is`
          : `The image of ${image.length} bytes is`
        throw new ResidualError('DECODE_FAILED', `${found} none of ${names}.`)
      }
      return classifier.prepare(image, { maxPixels: this.#maxPixels })
    }, signal)
  }
}

const starts =
  (...bytes: (string | number[])[]) =>
  (image: Uint8Array) =>
    bytes.some(prefix => Buffer.from(prefix as string).equals(image.subarray(0, prefix.length)))

const text = (image: Uint8Array, from: number, to: number) =>
  Buffer.from(image.subarray(from, to)).toString('latin1')

/**
 * What is decoded for strangers, by its first bytes. libvips reads more, such as SVG, which can refer to files and to other
 * machines.
 */
const formats: readonly { name: string; is: (image: Uint8Array) => boolean }[] = [
  { name: 'JPEG', is: starts([0xff, 0xd8, 0xff]) },
  { name: 'PNG', is: starts([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]) },
  { name: 'WebP', is: image => text(image, 0, 4) === 'RIFF' && text(image, 8, 12) === 'WEBP' },
  { name: 'GIF', is: starts('GIF87a', 'GIF89a') },
  { name: 'TIFF', is: starts([0x49, 0x49, 0x2a, 0], [0x4d, 0x4d, 0, 0x2a]) },
  { name: 'AVIF', is: image => ['ftypavif', 'ftypavis'].includes(text(image, 4, 12)) },
]

/** What else people send, so that they learn what it is. */
const otherFormats: typeof formats = [
  { name: 'a BMP', is: starts('BM') },
  { name: 'an icon (ICO)', is: starts([0, 0, 1, 0]) },
  {
    name: 'HEIF',
    is: image => ['ftypheic', 'ftypheix', 'ftypmif1', 'ftypmsf1'].includes(text(image, 4, 12)),
  },
  { name: 'JPEG XL', is: starts([0xff, 0x0a], [0, 0, 0, 0x0c, 0x4a, 0x58, 0x4c, 0x20]) },
  { name: 'JPEG 2000', is: starts([0xff, 0x4f, 0xff, 0x51], [0, 0, 0, 0x0c, 0x6a, 0x50, 0x20, 0x20]) },
  { name: 'a PDF', is: starts('%PDF') },
  { name: 'an SVG', is: image => /^\s*(?:<\?xml|<svg|<!DOCTYPE svg)/i.test(text(image, 0, 256)) },
  { name: 'a page of HTML', is: image => /^\s*(?:<!DOCTYPE html|<html)/i.test(text(image, 0, 256)) },
]
