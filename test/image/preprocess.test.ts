import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { decode } from '../../lib/image/decode.ts'
import { imagenet, inputSize, type Preprocessing, preprocess, type Step } from '../../lib/image/preprocess.ts'
import { difference, image, noise, pixel, resizeNaively } from '../support/images.ts'
import { haveShared, sharedFolder } from '../support/shared.ts'

const by = (steps: readonly Step[], interpolation: Preprocessing['interpolation'] = 'bilinear') => ({
  ...imagenet,
  steps,
  interpolation,
})
const crop = (height: number, width = height): Step => ({ crop: { height, width } })
const resize = (height: number, width = height): Step => ({ resize: { height, width } })
const shorterSide = (side: number): Step => ({ resize: { shorterSide: side } })

const golden = join(sharedFolder, 'golden', 'preprocess')
const goldenNames = ['wide', 'tall', 'small', 'large', 'gray', 'plain', 'tall2']

interface GoldenImage {
  readonly name: string
  readonly top: number
  readonly left: number
  readonly resized: readonly [width: number, height: number]
}

describe.skipIf(!haveShared('golden/preprocess'))('preprocessing for ImageNet', () => {
  it.each(goldenNames)('gives the same as Pillow: %s', async name => {
    const index: GoldenImage[] = JSON.parse(readFileSync(join(golden, 'index.json'), 'utf8'))
    const { top, left, resized } = index.find(image => image.name === name)!
    const source = await decode(join(golden, `${name}.jpg`))
    const { pixels, view } = await preprocess(source, imagenet)
    const expected = await decode(join(golden, `${name}.png`))
    // Equal to the byte on x86-64; JPEG decoders of other machines may round a pixel otherwise.
    const { largest, mean } = difference(pixels, expected.data)
    expect(largest).toBeLessThanOrEqual(1)
    expect(mean).toBeLessThan(0.05)
    expect(view.top).toBeCloseTo((top * source.height) / resized[1], 9)
    expect(view.left).toBeCloseTo((left * source.width) / resized[0], 9)
  })
})

describe('preprocess', () => {
  it.each(['bilinear', 'bicubic'] as const)('resamples as float64 loops do: %s', async filter => {
    const sizes = [1, 2, 5, 17, 31, 64]
    for (const [i, height] of sizes.entries()) {
      const width = sizes[(i + 2) % sizes.length]!
      for (const [j, outHeight] of [1, 3, 31, 47].entries()) {
        const size = { height: outHeight, width: [50, 1, 17, 9][j]! }
        const source = noise(height, width, i)
        const { pixels } = await preprocess(source, by([{ resize: size }], filter))
        // Weights of 22 bits may tip a value from one side of a half to the other; seldom.
        const { largest, mean } = difference(pixels, resizeNaively(source, size, filter).data)
        expect(largest, `${height}x${width} to ${size.height}x${size.width}`).toBeLessThanOrEqual(1)
        expect(mean).toBeLessThan(0.02)
      }
    }
  })

  it.each(['bilinear', 'bicubic'] as const)(
    'computes the same pixels where it keeps only a window: %s',
    async filter => {
      for (const [height, width, top, left] of [
        [9, 5, 12, 4],
        [1, 13, 16, 0],
        [33, 12, 0, 0],
        [2, 2, 16, 6],
      ] as const) {
        const source = noise(40, 21)
        const { pixels } = await preprocess(source, by([resize(33, 13), crop(height, width)], filter))
        const whole = resizeNaively(source, { height: 33, width: 13 }, filter)
        const window = image(
          height,
          width,
          (y, x) => pixel(whole, top + y, left + x) as [number, number, number],
        )
        const { largest, mean } = difference(pixels, window.data)
        expect(largest, `${height}x${width}`).toBeLessThanOrEqual(1)
        expect(mean).toBeLessThan(0.02)
      }
    },
  )

  it('leaves an image of the right size as it is, and reads one within a larger buffer', async () => {
    const source = noise(6, 4)
    expect((await preprocess(source, by([shorterSide(4), resize(6, 4), crop(6, 4)]))).pixels).toEqual(
      source.data,
    )
    const padded = new Uint8Array(7 + source.data.length)
    padded.set(source.data, 7)
    const within = { ...source, data: padded.subarray(7) }
    expect(await preprocess(within, by([resize(3)]))).toEqual(await preprocess(source, by([resize(3)])))
  })

  // Width and height of the image, side, and what torchvision makes of it: int(side * long / short).
  it.each([
    [500, 375, 256, 341, 256],
    [375, 500, 256, 256, 341],
    [333, 500, 256, 256, 384],
    [7, 3, 2, 4, 2],
    [3, 3, 2, 2, 2],
    [100, 1, 3, 300, 3],
    [3, 2, 1, 1, 1],
  ])('rounds the longer side down: %ix%i to %i', async (width, height, side, newWidth, newHeight) => {
    const { pixels } = await preprocess(noise(height, width), by([shorterSide(side)]))
    const whole = resizeNaively(noise(height, width), { height: newHeight, width: newWidth }, 'bilinear')
    expect(pixels).toHaveLength(newWidth * newHeight * 3)
    expect(difference(pixels, whole.data).largest).toBeLessThanOrEqual(1)
  })

  // Python's int(round((extent - wanted) / 2)): halves go to the even number.
  it.each([
    [6, 5, 0],
    [8, 5, 2],
    [10, 5, 2],
    [12, 5, 4],
    [9, 5, 2],
    [5, 5, 0],
  ])('crops a side of %i to %i from %i', async (extent, wanted, offset) => {
    const source = image(extent, extent + 4, (y, x) => [y, x, 0])
    const { pixels, view } = await preprocess(source, by([crop(wanted, wanted + 4)]))
    const expected = image(wanted, wanted + 4, (y, x) => [y + offset, x + offset, 0])
    expect(pixels).toEqual(expected.data)
    expect(view).toEqual({ top: offset, left: offset, height: wanted, width: wanted + 4 })
  })

  it('pads with black if the crop is larger, the odd pixel at the bottom and right', async () => {
    const source = image(2, 6, (y, x) => [100 + y, 100 + x, 1])
    const { pixels, view } = await preprocess(source, by([crop(5, 3)]))
    // Padded above by floor(3 / 2); cut on the left by round(3 / 2), which is 2.
    const expected = image(5, 3, (y, x) => (y < 1 || y > 2 ? [0, 0, 0] : [99 + y, 102 + x, 1]))
    expect(pixels).toEqual(expected.data)
    expect(view).toEqual({ top: -1, left: 2, height: 5, width: 3 })
    const wide = await preprocess(source, by([shorterSide(4), crop(5, 20)]))
    expect(wide.view).toEqual({ top: 0, left: -2, height: 2.5, width: 10 })
    expect(pixel({ data: wide.pixels, height: 5, width: 20 }, 0, 3)).toEqual([0, 0, 0])
    expect(pixel({ data: wide.pixels, height: 5, width: 20 }, 0, 4)).toEqual([100, 100, 1])
    expect(pixel({ data: wide.pixels, height: 5, width: 20 }, 4, 4)).toEqual([0, 0, 0])
  })

  it('reports which part of the image is left after all steps', async () => {
    const steps = [shorterSide(50), crop(40), resize(20), crop(10, 16)]
    const { pixels, view } = await preprocess(noise(100, 300), by(steps))
    expect(pixels).toHaveLength(10 * 16 * 3)
    // 100x300 -> 50x150, cut to 40x40 at (5, 55) -> 20x20, cut to 10x16 at (5, 2): units of 2, then 4 pixels.
    expect(view).toEqual({ top: 5 * 2 + 5 * 4, left: 55 * 2 + 2 * 4, height: 10 * 4, width: 16 * 4 })
    expect(inputSize(by(steps))).toEqual({ height: 10, width: 16 })
    expect(inputSize(by([crop(3), resize(4, 5)]))).toEqual({ height: 4, width: 5 })
  })

  it('handles an image one pixel high, and refuses what would not fit in memory', async () => {
    const thin = image(1, 100_000, () => [7, 8, 9])
    const { pixels } = await preprocess(thin, by([shorterSide(100), crop(4)])) // of 100x10000000
    expect(pixels).toEqual(image(4, 4, () => [7, 8, 9]).data)
    await expect(preprocess(thin, by([shorterSide(100)]))).rejects.toMatchObject({
      code: 'PICTURE_TOO_LARGE',
      message: expect.stringMatching(/1x100000 .* 100x10000000/),
    })
    await expect(preprocess(thin, by([shorterSide(256), crop(4)]))).rejects.toMatchObject({
      code: 'PICTURE_TOO_LARGE',
      message: expect.stringMatching(/1x100000 .* 256x25600000/),
    })
  })
})
