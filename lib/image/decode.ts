// How does an encoded picture become pixels? By sharp (libvips), the way Pillow's `convert('RGB')` would show it.
import { stat } from 'node:fs/promises'
import { types } from 'node:util'
import { checkInteger, ResidualError, wrongType } from '../errors.ts'

/** A decoded picture. */
export interface Picture {
  /** `[height, width, 3]`, RGB. */
  readonly data: Uint8Array
  readonly height: number
  readonly width: number
}

export interface DecodeOptions {
  /** The most pixels a picture may have; {@link maxPixels} unless given, which is also the most that may be given. */
  readonly maxPixels?: number
}

/** The most pixels a picture may have: 0.8 GB once decoded. */
export const maxPixels = 0x3fff * 0x3fff

/**
 * Decodes a picture, given as a path or as the bytes of the file, off the event loop.
 *
 * Turned upright as its EXIF orientation says; grey becomes RGB, alpha is dropped, 16 bits become 8, CMYK is
 * converted by libvips' own profile (Pillow multiplies, which gives other colours);
 * of an animation the first frame is taken. Embedded colour profiles are ignored, as Pillow and so the training of most
 * checkpoints does. Never decoded at a reduced size: that gives other pixels than resizing afterwards.
 *
 * @throws ResidualError FILE_NOT_FOUND, DECODE_FAILED, PICTURE_TOO_LARGE
 */
export async function decode(source: string | Uint8Array, options: DecodeOptions = {}): Promise<Picture> {
  const limit = checkInteger('maxPixels', options.maxPixels ?? maxPixels, 1, maxPixels)
  if (!(typeof source === 'string' || types.isUint8Array(source))) {
    throw wrongType('a path or the bytes of an encoded picture', 'the picture', source)
  }
  const name = typeof source === 'string' ? source : `the picture of ${source.length} bytes`
  if (typeof source === 'string') await checkFile(source)
  // A copy, made at once: libvips reads on another thread, where the memory of an array that is transferred may be gone.
  const input = typeof source === 'string' ? source : Buffer.from(source)
  const { default: sharp } = await import('sharp') // a third of the time to load a model, for whoever decodes nothing
  try {
    const { data, info } = await sharp(input, {
      failOn: 'error',
      limitInputPixels: limit,
      ignoreIcc: true,
    })
      .autoOrient()
      .toColourspace('srgb')
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    if (info.channels !== 3) throw new Error(`it has ${info.channels} channels`)
    return { data, height: info.height, width: info.width }
  } catch (cause) {
    const reason = (cause as Error).message
    if (/pixel limit/i.test(reason)) {
      const message = `${name} is over the limit of ${limit} pixels. Reduce it first.`
      throw new ResidualError('PICTURE_TOO_LARGE', message, { cause })
    }
    throw new ResidualError('DECODE_FAILED', `${name} cannot be decoded: ${reason}.`, { cause })
  }
}

/** sharp reports a missing file and a damaged one alike. */
async function checkFile(path: string): Promise<void> {
  let isFile: boolean
  try {
    isFile = (await stat(path)).isFile()
  } catch (cause) {
    throw new ResidualError('FILE_NOT_FOUND', `${path} cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  }
  if (!isFile) throw new ResidualError('FILE_NOT_FOUND', `${path} is not a file.`)
}
