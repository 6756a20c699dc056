import { execFileSync } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32, gzipSync } from 'node:zlib'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { decode, maxPixels } from '../../lib/image/decode.ts'
import { temporaryFolder } from '../support/files.ts'
import { type Colour, type GifOptions, gif } from '../support/gif.ts'
import { difference, image, noise, pixel } from '../support/images.ts'

const folder = temporaryFolder()

/** sharp, with the pixels of an image of any number of channels. */
const raw = (data: ArrayLike<number>, width: number, height: number, channels: 1 | 2 | 3 | 4) =>
  sharp(Uint8Array.from(data), { raw: { width, height, channels } })

const rgb = noise(5, 7)
const png = await raw(rgb.data, 7, 5, 3).png().toBuffer()

describe('decode', () => {
  it('gives the pixels of an image, from its bytes and from a file', async () => {
    const path = join(folder, 'rgb.png')
    writeFileSync(path, png)
    for (const source of [png, new Uint8Array(png), path]) {
      const { data, height, width } = await decode(source)
      expect({ height, width }).toEqual({ height: 5, width: 7 })
      expect(Array.from(data)).toEqual(Array.from(rgb.data))
    }
  })

  it('takes bytes that lie within a larger buffer', async () => {
    const larger = new Uint8Array(png.length + 20)
    larger.set(png, 13)
    expect((await decode(larger.subarray(13, 13 + png.length))).data).toEqual(Buffer.from(rgb.data))
  })

  it('reads the bytes before it returns: they may be handed on and overwritten', async () => {
    const large = noise(600, 800)
    const bytes = new Uint8Array(await raw(large.data, 800, 600, 3).png().toBuffer())
    const decoding = decode(bytes)
    structuredClone(bytes, { transfer: [bytes.buffer] }).fill(0) // the same memory, no longer the caller's
    expect(bytes).toHaveLength(0)
    expect(Buffer.compare((await decoding).data, large.data)).toBe(0)
  })

  it.each(['png', 'jpeg', 'webp', 'tiff', 'gif'] as const)('decodes %s', async format => {
    const plain = image(16, 24, () => [200, 100, 50])
    const encoded = await raw(plain.data, 24, 16, 3).toFormat(format, { quality: 100 }).toBuffer()
    const decoded = await decode(encoded)
    expect(decoded).toMatchObject({ height: 16, width: 24 })
    expect(difference(decoded.data, plain.data).largest).toBeLessThanOrEqual(3)
  })

  it('turns grey into three equal channels', async () => {
    const expected = { data: Buffer.from([7, 7, 7, 250, 250, 250]), height: 1, width: 2 }
    expect(await decode(await raw([7, 250], 2, 1, 1).toColourspace('b-w').png().toBuffer())).toEqual(expected)
    const greyAlpha = await raw([7, 9, 250, 0], 2, 1, 2).toColourspace('b-w').png().toBuffer()
    expect(await sharp(greyAlpha).metadata()).toMatchObject({ channels: 2 })
    expect(await decode(greyAlpha)).toEqual(expected)
    const jpeg = await raw(Array(64).fill(99), 8, 8, 1).toColourspace('b-w').jpeg().toBuffer()
    expect(await sharp(jpeg).metadata()).toMatchObject({ channels: 1 })
    expect((await decode(jpeg)).data).toEqual(Buffer.alloc(8 * 8 * 3, 99))
  })

  it('drops alpha and keeps the colours behind it', async () => {
    const rgba = await raw([1, 2, 3, 0, 200, 100, 50, 128, 4, 5, 6, 255], 3, 1, 4).png().toBuffer()
    expect((await decode(rgba)).data).toEqual(Buffer.from([1, 2, 3, 200, 100, 50, 4, 5, 6]))
  })

  it('reduces 16 bits to 8', async () => {
    const sixteen = Uint16Array.from([0, 0x7fff, 0xffff, 0x1234, 0xab00, 0x00ff])
    const data = await sharp(sixteen, { raw: { width: 2, height: 1, channels: 3 } })
      .toColourspace('rgb16')
      .png()
      .toBuffer()
    expect(await sharp(data).metadata()).toMatchObject({ depth: 'ushort' })
    expect((await decode(data)).data).toEqual(Buffer.from([0, 0x7f, 0xff, 0x12, 0xab, 0x00]))
    const grey = await sharp(sixteen, { raw: { width: 6, height: 1, channels: 1 } })
      .toColourspace('grey16')
      .png()
      .toBuffer()
    expect(await sharp(grey).metadata()).toMatchObject({ depth: 'ushort', channels: 1 })
    const expected = [0, 0x7f, 0xff, 0x12, 0xab, 0x00].flatMap(value => [value, value, value])
    expect((await decode(grey)).data).toEqual(Buffer.from(expected))
  })

  it('looks up the colours of a palette', async () => {
    const colours = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]
    const data = await raw(colours, 2, 2, 3).png({ palette: true, dither: 0 }).toBuffer()
    expect(await sharp(data).metadata()).toMatchObject({ isPalette: true })
    expect((await decode(data)).data).toEqual(Buffer.from(colours))
  })

  it('ignores an embedded colour profile', async () => {
    const p3 = await raw(Array(12).fill([255, 0, 0]).flat(), 4, 3, 3)
      .withIccProfile('p3')
      .png()
      .toBuffer()
    expect((await sharp(p3).metadata()).icc).toBeDefined()
    // Display P3's numbers for the red of sRGB.
    for (const [i, value] of [234, 51, 35].entries()) {
      expect(Math.abs(pixel(await decode(p3), 1, 1)[i]! - value)).toBeLessThanOrEqual(2)
    }
  })

  it('converts CMYK', async () => {
    const plain = image(16, 16, (_, x) => (x < 8 ? [255, 255, 255] : [0, 0, 0]))
    const cmyk = await raw(plain.data, 16, 16, 3).toColourspace('cmyk').jpeg().toBuffer()
    expect(await sharp(cmyk).metadata()).toMatchObject({ space: 'cmyk', channels: 4 })
    const decoded = await decode(cmyk)
    for (const channel of pixel(decoded, 8, 2)) expect(channel).toBeGreaterThan(245)
    for (const channel of pixel(decoded, 8, 13)) expect(channel).toBeLessThan(60)
  })

  // Where the upper left corner of the upright image, 3 wide and 2 high, lies in the file, and how it goes on.
  it.each([
    [1, 'abc/def'],
    [2, 'cba/fed'],
    [3, 'fed/cba'],
    [4, 'def/abc'],
    [5, 'ad/be/cf'],
    [6, 'cf/be/ad'],
    [7, 'fc/eb/da'],
    [8, 'da/eb/fc'],
  ])('turns EXIF orientation %i upright', async (orientation, stored) => {
    const rows = stored.split('/')
    const values = [...rows.join('')].flatMap(letter => Array(3).fill(letter.charCodeAt(0)))
    const data = await raw(values, rows[0]!.length, rows.length, 3)
      .withMetadata({ orientation })
      .png()
      .toBuffer()
    const decoded = await decode(data)
    const letters = Array.from({ length: 6 }, (_, i) => String.fromCharCode(decoded.data[i * 3]!)).join('')
    expect({ ...decoded, data: letters }).toEqual({ height: 2, width: 3, data: 'abcdef' })
  })

  it('takes the first frame of an animation', async () => {
    const frames = [...Array(12).fill([250, 0, 0]), ...Array(12).fill([0, 0, 250])].flat()
    const gif = await sharp(Uint8Array.from(frames), {
      raw: { width: 4, height: 6, channels: 3, pageHeight: 3 },
    })
      .gif({ delay: [50, 50], loop: 0 })
      .toBuffer()
    expect(await sharp(gif).metadata()).toMatchObject({ pages: 2 })
    expect(await decode(gif)).toEqual({ ...image(3, 4, () => [250, 0, 0]), data: expect.any(Buffer) })
    expect(pixel(await decode(gif), 2, 3)).toEqual([250, 0, 0])
  })

  // As Pillow 13 shows them, whose numbers these are: transparency is a colour of the palette like any other.
  describe('of GIFs', () => {
    const palette: Colour[] = [
      [200, 10, 20],
      [10, 200, 20],
      [10, 20, 200],
      [9, 8, 7],
    ]
    const local: Colour[] = [
      [1, 2, 3],
      [4, 5, 6],
      [77, 88, 99],
      [10, 11, 12],
    ]
    const greys: Colour[] = [0, 1, 2, 3].map(grey => [grey, grey, grey])
    const indices = [0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0]
    const size = { width: 4, height: 4, indices }
    const frame = { left: 1, top: 1, width: 2, height: 2 }
    const small = { width: 4, height: 4, frame, indices: [1, 2, 3, 1] }
    const around = [0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 1, 0, 0, 0, 0, 0]

    it.each<[string, GifOptions, readonly Colour[], number[]?]>([
      ['no transparency', { ...size, palette }, palette],
      ['a transparent colour', { ...size, palette, transparent: 1 }, palette],
      ['a transparent colour that is not in the palette', { ...size, palette, transparent: 200 }, palette],
      ['a palette of its frame', { ...size, palette, local, transparent: 2 }, local],
      ['no palette but that of its frame', { ...size, palette: [], local, transparent: 2 }, local],
      ['no palette, whose indices are greys', { ...size, palette: [], transparent: 2 }, greys],
      ['a frame within its canvas: the first colour is around it', { ...small, palette }, palette, around],
      [
        'that, and a transparent colour, which is around it',
        { ...small, palette, transparent: 3 },
        palette,
        around.map((index, i) => (around[i] === 0 ? 3 : index)),
      ],
      [
        'that, of a colour that is not in the palette',
        { ...small, palette, transparent: 200 },
        [...palette, [0, 0, 0]],
        around.map(index => index || 4),
      ],
      ['that, with a palette of its frame', { ...small, palette, local }, local, around],
    ])('takes every colour from the palette: %s', async (_, options, colours, expected = indices) => {
      const bytes = gif(options)
      const path = join(folder, 'palette.gif')
      writeFileSync(path, bytes)
      for (const source of [bytes, path]) {
        const { data } = await decode(source)
        expect(Array.from(data)).toEqual(expected.flatMap(index => colours[index]!))
      }
    })

    it('does not change the bytes it was given', async () => {
      const bytes = gif({ ...size, palette, transparent: 1 })
      const before = Buffer.from(bytes)
      await decode(bytes)
      expect(bytes).toEqual(before)
    })

    it('refuses a file cut off anywhere before the end of its first frame', async () => {
      const bytes = gif({ ...size, palette, local, transparent: 1 })
      for (let length = 6; length < bytes.length - 8; length++)
        await expect(decode(bytes.subarray(0, length))).rejects.toMatchObject({ code: 'DECODE_FAILED' })
    })
  })

  it('decodes a single pixel', async () => {
    const data = await raw([1, 2, 3], 1, 1, 3).png().toBuffer()
    expect(await decode(data)).toEqual({ data: Buffer.from([1, 2, 3]), height: 1, width: 1 })
  })

  it('decodes 20 images at once, each as itself', async () => {
    const images = Array.from({ length: 20 }, (_, i) => noise(30 + i, 40, i))
    const encoded = await Promise.all(images.map(p => raw(p.data, p.width, p.height, 3).png().toBuffer()))
    const decoded = await Promise.all(encoded.map(bytes => decode(bytes)))
    for (const [i, { data, height, width }] of decoded.entries()) {
      expect({ height, width }).toEqual({ height: 30 + i, width: 40 })
      expect(Buffer.compare(data, images[i]!.data)).toBe(0)
    }
  })
})

describe('decode refuses', () => {
  const large = noise(64, 64)
  const half = (bytes: Buffer) => bytes.subarray(0, bytes.length / 2)
  const photograph = () => raw(large.data, 64, 64, 3)

  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="secret.png"/></svg>'
  const damaged = (bytes: Buffer) => {
    const copy = Buffer.from(bytes)
    return copy.fill(0xff, copy.length / 3, (copy.length * 2) / 3)
  }
  const heic = Buffer.from([...[0, 0, 0, 16], ...Buffer.from('ftypheic'), 0, 0, 0, 0])

  it.each([
    ['a truncated JPEG', async () => half(await photograph().jpeg().toBuffer()), 'the JPEG is truncated'],
    ['a truncated PNG', async () => half(await photograph().png().toBuffer()), 'the PNG is truncated'],
    ['a truncated GIF', async () => half(await photograph().gif().toBuffer()), 'the GIF is truncated'],
    ['a truncated WebP', async () => half(await photograph().webp().toBuffer()), 'the WebP is truncated'],
    ['the header of a PNG alone', async () => png.subarray(0, 33), 'the PNG is truncated'],
    ['a damaged PNG', async () => damaged(await photograph().png().toBuffer()), 'the PNG is damaged'],
    ['text', async () => Buffer.from('This is no image, however long one looks at it.'), 'it is text'],
    ['no bytes', async () => new Uint8Array(0), 'it is empty'],
    [
      'zeros',
      async () => new Uint8Array(1000),
      'it is not in a supported format (JPEG, PNG, WebP, GIF, TIFF, AVIF)',
    ],
    ['a drawing', async () => Buffer.from(svg), 'it is SVG'],
    ['a drawing, packed', async () => gzipSync(svg), 'it is not in a supported format (JPEG, '],
    [
      'BMP',
      async () => Buffer.from('BM\0\0\0\0\0\0'),
      'it is BMP, which is not supported. Convert it to PNG',
    ],
    ['HEIC', async () => heic, 'it is HEIC, which is not supported. Convert it to JPEG'],
    ['a page', async () => Buffer.from('<!DOCTYPE html><html>404</html>'), 'it is an HTML page'],
    [
      'a pointer',
      async () => Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:1\n'),
      'it is a Git LFS pointer',
    ],
  ])('%s', async (_, make, reason) => {
    const bytes = await make()
    const path = join(folder, 'refused')
    writeFileSync(path, bytes)
    for (const [source, name] of [
      [bytes, `the image of ${bytes.length} bytes`],
      [path, path],
    ] as const)
      await expect(decode(source)).rejects.toMatchObject({
        name: 'ResidualError',
        code: 'DECODE_FAILED',
        message: expect.stringContaining(`${name} cannot be decoded: ${reason}`),
      })
  })

  it('each image for its own reason, however many are refused at once', async () => {
    const jpeg = await photograph().jpeg().toBuffer()
    const kinds = [
      [half(jpeg), 'the JPEG is truncated.'],
      [half(await photograph().png().toBuffer()), 'the PNG is truncated.'],
      [damaged(await photograph().png().toBuffer()), 'the PNG is damaged or uses an unsupported feature.'],
      [half(await photograph().webp().toBuffer()), 'the WebP is truncated.'],
      [half(await photograph().tiff().toBuffer()), 'the TIFF is damaged or uses an unsupported feature.'],
      [jpeg, 'nothing'],
    ] as const
    const all = Array.from({ length: 60 }, (_, i) => kinds[i % kinds.length]!)
    const reasons = await Promise.all(
      all.map(([bytes]) =>
        decode(bytes).then(
          () => 'nothing',
          (error: Error) => error.message.replace(/^the image of \d+ bytes cannot be decoded: /, ''),
        ),
      ),
    )
    expect(reasons).toEqual(all.map(([, reason]) => reason))
  })

  it('a file that is not an image, naming it', async () => {
    const path = join(folder, 'text.jpg')
    writeFileSync(path, 'text')
    await expect(decode(path)).rejects.toMatchObject({
      code: 'DECODE_FAILED',
      message: expect.stringContaining(`${path} cannot be decoded: `),
    })
  })

  it.each([
    [60_000, 60_000],
    [0x3fff, 0x4000],
  ])('a PNG that claims %i x %i pixels', async (width, height) => {
    const claiming = Buffer.from(png)
    claiming.writeUInt32BE(width, 16)
    claiming.writeUInt32BE(height, 20)
    claiming.writeUInt32BE(crc32(claiming.subarray(12, 29)), 29)
    await expect(decode(claiming)).rejects.toMatchObject({
      code: 'PICTURE_TOO_LARGE',
      message: expect.stringContaining(`the limit of ${maxPixels} pixels`),
    })
  })

  it('what is missing, and what is not a file', async () => {
    const missing = join(folder, 'none.png')
    await expect(decode(missing)).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining(missing),
    })
    await expect(decode(folder)).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: `${folder} is not a file.`,
    })
    await expect(decode('\0')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe]) // nobody will ever write to it
    await expect(decode(pipe)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })

  it('a URL or very long text in place of a path, briefly', async () => {
    const url = `data:image/png;base64,${Buffer.alloc(8e6).toString('base64')}`
    const error = await decode(url).catch(e => e)
    expect(error).toMatchObject({ code: 'FILE_NOT_FOUND' })
    expect(error.message).toMatch(/cannot be read: it is a URL \(data:\)\. Give a path, or the bytes\.$/)
    const base64 = await decode(url.slice(22)).catch(e => e)
    expect(base64).toMatchObject({ code: 'FILE_NOT_FOUND' })
    for (const { message } of [error, base64]) expect(message.length).toBeLessThan(1000)
  })

  it('a file with more bytes than any image has, unread', async () => {
    const path = join(folder, 'huge.png')
    writeFileSync(path, png)
    truncateSync(path, 2 ** 30 + 1) // a hole: it takes no room
    await expect(decode(path)).rejects.toMatchObject({ code: 'PICTURE_TOO_LARGE' })
  })

  it('everything under an aborted signal', async () => {
    const signal = AbortSignal.abort(new Error('no longer wanted'))
    for (const source of [png, folder])
      await expect(decode(source, { signal })).rejects.toThrow('no longer wanted')
  })

  it.each([5, null, undefined, {}, [1], new ArrayBuffer(1)])(
    '%o, which is neither path nor bytes',
    async value => {
      const decoding = decode(value as string)
      await expect(decoding).rejects.toThrow(TypeError)
      await expect(decoding).rejects.toThrow(
        /^Expected a path or the bytes of an encoded image for the image/,
      )
    },
  )
})
