// Image decoding by sharp (libvips): the same pixels as Pillow's `convert('RGB')`.
import { isUint8Array } from 'node:util/types'
import { checkInteger, ResidualError, wrongType } from '../errors.ts'
import { type Format, formatOf, headBytes, notAFormat } from './format.ts'
import { paintAround, withoutTransparency } from './gif.ts'
import { readImage } from './read-image.ts'

/** A decoded image. */
export interface Image {
  /** `[height, width, 3]`, RGB. */
  readonly data: Uint8Array
  readonly height: number
  readonly width: number
}

export interface DecodeOptions {
  /** The most pixels an image may have; {@link maxPixels} is both the default and the largest allowed. */
  readonly maxPixels?: number
  /** Cancels it, whether waiting or decoding; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

/** The most pixels an image may have: 0.8 GB once decoded. */
export const maxPixels = 0x3fff * 0x3fff

/**
 * Decodes an image, given as a path or as the bytes of the file, off the event loop.
 *
 * It is rotated as its EXIF orientation says; grey becomes RGB, alpha is dropped (transparent pixels keep the colour stored in
 * the file), 16 bits become 8, CMYK is converted with libvips' own profile (Pillow multiplies, which gives other colours), and
 * only the first frame of an animation is used. Embedded colour profiles are ignored, as in Pillow and therefore in the training
 * of most checkpoints. It is never decoded at a reduced size, which would give different pixels from resizing afterwards.
 *
 * @throws ResidualError FILE_NOT_FOUND, DECODE_FAILED, PICTURE_TOO_LARGE
 */
export async function decode(source: string | Uint8Array, options: DecodeOptions = {}): Promise<Image> {
  const limit = checkInteger('maxPixels', options.maxPixels ?? maxPixels, 1, maxPixels)
  if (!(typeof source === 'string' || isUint8Array(source))) {
    throw wrongType('a path or the bytes of an encoded image', 'the image', source)
  }
  options.signal?.throwIfAborted()
  const name = typeof source === 'string' ? source : `the image of ${source.length} bytes`
  // Copied right away: libvips reads on another thread, and a transferred array's memory may be gone by then.
  const file = typeof source === 'string' ? await readImage(source, options.signal) : Buffer.from(source)
  const format = formatOf(file)
  if (!format) throw undecodable(name, notAFormat(file.subarray(0, headBytes)))
  const gif = format.name === 'GIF' ? withoutTransparency(file) : undefined
  const image = await decodeFile(gif?.file ?? file, format, name, limit)
  if (gif?.around) paintAround(image, gif.around)
  return image
}

async function decodeFile(file: Buffer, format: Format, name: string, limit: number): Promise<Image> {
  const { default: sharp } = await import('sharp') // loading it takes a third of a model's load time, wasted if nothing is decoded
  try {
    const { data, info } = await sharp(file, {
      failOn: 'error',
      limitInputPixels: limit,
      ignoreIcc: true,
    })
      .autoOrient()
      .toColourspace('srgb')
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    if (info.channels !== 3) throw new Error(`It has ${info.channels} channels`)
    return { data, height: info.height, width: info.width }
  } catch (cause) {
    if ((cause as Error).message.startsWith('Input image exceeds pixel limit')) {
      const message = `${name} exceeds the limit of ${limit} pixels. Reduce it first.`
      throw new ResidualError('PICTURE_TOO_LARGE', message, { cause })
    }
    // libvips collects the messages of all threads in one place: this one may be about another image.
    const reason = format.isWhole(file) ? 'is damaged or uses an unsupported feature' : 'is truncated'
    throw undecodable(name, `the ${format.name} ${reason}`, cause)
  }
}

function undecodable(name: string, why: string, cause?: unknown): ResidualError {
  return new ResidualError('DECODE_FAILED', `${name} cannot be decoded: ${why}.`, { cause })
}
