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
  /** The most pixels an image may have; {@link maxPixels} unless given, which is also the most that may be given. */
  readonly maxPixels?: number
  /** Ends the wait for a decoder, or for what it decodes; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

/** The most pixels an image may have: 0.8 GB once decoded. */
export const maxPixels = 0x3fff * 0x3fff

/**
 * Decodes an image, given as a path or as the bytes of the file, off the event loop.
 *
 * Turned upright as its EXIF orientation says; grey becomes RGB, alpha is dropped (what is transparent has the colour that the file
 * gives it), 16 bits become 8, CMYK is converted by libvips' own profile (Pillow multiplies, which gives other colours);
 * of an animation the first frame is taken. Embedded colour profiles are ignored, as Pillow and so the training of most
 * checkpoints does. Never decoded at a reduced size: that gives other pixels than resizing afterwards.
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
  // A copy, made at once: libvips reads on another thread, where the memory of an array that is transferred may be gone.
  const file = typeof source === 'string' ? await readImage(source, options.signal) : Buffer.from(source)
  const format = formatOf(file)
  if (!format) throw undecodable(name, notAFormat(file.subarray(0, headBytes)))
  const gif = format.name === 'GIF' ? withoutTransparency(file) : undefined
  const image = await decodeFile(gif?.file ?? file, format, name, limit)
  if (gif?.around) paintAround(image, gif.around)
  return image
}

async function decodeFile(file: Buffer, format: Format, name: string, limit: number): Promise<Image> {
  const { default: sharp } = await import('sharp') // a third of the time to load a model, for whoever decodes nothing
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
      const message = `${name} is over the limit of ${limit} pixels. Reduce it first.`
      throw new ResidualError('PICTURE_TOO_LARGE', message, { cause })
    }
    // libvips collects the messages of all threads in one place: the cause's may be of another image.
    const reason = format.isWhole(file) ? 'is damaged, or of a kind that is not decoded' : 'ends early'
    throw undecodable(name, `the ${format.name} ${reason}`, cause)
  }
}

function undecodable(name: string, why: string, cause?: unknown): ResidualError {
  return new ResidualError('DECODE_FAILED', `${name} cannot be decoded: ${why}.`, { cause })
}
