import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { activationMap, overlay } from '../../lib/image/cam.ts'
import { decode, type Image } from '../../lib/image/decode.ts'
import { imagenet, preprocess, type View } from '../../lib/image/preprocess.ts'
import { image, noise, pixel } from '../support/images.ts'

const grey = (height: number, width: number) => image(height, width, () => [128, 128, 128])
const all = ({ height, width }: Image): View => ({ top: 0, left: 0, height, width })

/** The overlay's pixels. */
async function overlaid(on: Image, view: View, map: number[], height: number, width: number) {
  const png = await overlay(on, view, new Float32Array(map), { height, width })
  expect(await sharp(png).metadata()).toMatchObject({ format: 'png' })
  return await decode(png)
}

/** What a pixel of the map, at opacity 0.55, makes of grey: the first and the last colour of the ramp. */
const over = (colour: number[]) => colour.map(value => 128 + 0.55 * (value - 128))
const cold = over([13, 8, 65])
const hot = over([252, 253, 170])

function expectNear(actual: number[], expected: number[], tolerance = 2) {
  for (const [i, value] of actual.entries()) {
    expect(Math.abs(value - expected[i]!), `${actual} for ${expected}`).toBeLessThanOrEqual(tolerance)
  }
}

/** Where the image differs from `from`: the least rectangle around it. */
function changed(actual: Image, from: Image) {
  const at = Array.from({ length: actual.height * actual.width }, (_, i) => i).filter(i =>
    [0, 1, 2].some(c => actual.data[i * 3 + c] !== from.data[i * 3 + c]),
  )
  const [ys, xs] = [at.map(i => Math.floor(i / actual.width)), at.map(i => i % actual.width)]
  const [top, left] = [Math.min(...ys), Math.min(...xs)]
  return { top, left, height: Math.max(...ys) + 1 - top, width: Math.max(...xs) + 1 - left }
}

describe('activationMap', () => {
  it('weights the channels at every position', () => {
    // 1x2 places with 3 channels: 1*2 + 2*-1 + 3*0.5 and 4*2 + 5*-1 + 6*0.5.
    const maps = new Float32Array([1, 2, 3, 4, 5, 6])
    const map = activationMap(maps, { height: 1, width: 2, channels: 3 }, new Float32Array([2, -1, 0.5]))
    expect(map).toEqual(new Float32Array([1.5, 6]))
  })

  it('goes row by row', () => {
    const maps = new Float32Array([1, 2, 3, 4, 5, 6])
    const map = activationMap(maps, { height: 3, width: 2, channels: 1 }, new Float32Array([10]))
    expect(map).toEqual(new Float32Array([10, 20, 30, 40, 50, 60]))
  })
})

describe('overlay', () => {
  it("shows the map's minimum cold and its maximum hot, whatever the scale", async () => {
    for (const [least, greatest] of [
      [0, 1],
      [-3000, -2999],
      [1e-6, 2e-6],
    ] as const) {
      const result = await overlaid(grey(40, 60), all(grey(40, 60)), [least, least, least, greatest], 2, 2)
      expect(result).toMatchObject({ height: 40, width: 60 })
      expectNear(pixel(result, 0, 0), cold)
      expectNear(pixel(result, 0, 59), cold)
      expectNear(pixel(result, 39, 0), cold)
      expectNear(pixel(result, 39, 59), hot)
    }
  })

  it('gets lighter from the cold to the hot end', async () => {
    const ramp = Array.from({ length: 9 }, (_, i) => i)
    const result = await overlaid(
      grey(9, 9),
      all(grey(9, 9)),
      ramp.flatMap(row => Array(9).fill(row)),
      9,
      9,
    )
    const lightness = ramp.map(y => {
      const [r, g, b] = pixel(result, y, 4) as [number, number, number]
      return 0.2126 * r + 0.7152 * g + 0.0722 * b
    })
    for (let i = 1; i < 9; i++) expect(lightness[i]!).toBeGreaterThan(lightness[i - 1]! + 2)
  })

  it('changes nothing outside of the view', async () => {
    const source = noise(50, 70)
    const view = { top: 9.6, left: 20.4, height: 30, width: 25.2 }
    const result = await overlaid(source, view, [1, 0, 0, 0], 2, 2)
    expect(result).toMatchObject({ height: 50, width: 70 })
    expect(changed(result, source)).toEqual({ top: 10, left: 20, height: 30, width: 25 })
  })

  it('lays the hot end over what the network saw there', async () => {
    const source = grey(100, 300)
    const { view } = await preprocess(source, {
      ...imagenet,
      steps: [{ resize: { shorterSide: 50 } }, { crop: { height: 40, width: 40 } }],
    })
    // The view begins at 10, 110 and is 80 by 80: the third of four rows and the second column.
    const map = Array(16).fill(0)
    map[2 * 4 + 1] = 5
    const result = await overlaid(source, view, map, 4, 4)
    expectNear(pixel(result, 10 + 50, 110 + 30), hot, 12)
    expectNear(pixel(result, 10, 110), cold)
    expectNear(pixel(result, 10 + 50, 110 + 70), cold, 12)
    expect(changed(result, source)).toEqual({ top: 10, left: 110, height: 80, width: 80 })
  })

  it('clips a padded view at the edges', async () => {
    // The image is the middle of a view four times its size; only the map's middle, from cold to hot, is seen.
    const source = grey(20, 20)
    const view = { top: -20, left: -20, height: 60, width: 60 }
    const map = [9, 9, 9, 0, 0, 0, 9, 9, 9].map((value, i) => (i === 4 ? 18 : value))
    const result = await overlaid(source, view, map, 3, 3)
    expect(result).toMatchObject({ height: 20, width: 20 })
    expectNear(pixel(result, 10, 10), hot, 12)
    const aside = { top: -10, left: 5, height: 20, width: 40 }
    expect(changed(await overlaid(source, aside, [0, 1], 1, 2), source)).toEqual({
      top: 0,
      left: 5,
      height: 10,
      width: 15,
    })
  })

  it('shows a flat map cold everywhere', async () => {
    for (const value of [0, 7, -1e30]) {
      const result = await overlaid(grey(6, 5), all(grey(6, 5)), Array(4).fill(value), 2, 2)
      for (let i = 0; i < 30; i++) expectNear(pixel(result, Math.floor(i / 5), i % 5), cold)
    }
  })

  it('takes a map as large as the view, and larger than it', async () => {
    const one = await overlaid(grey(2, 2), all(grey(2, 2)), [1, 0, 0, 0], 2, 2)
    expectNear(pixel(one, 0, 0), hot)
    expectNear(pixel(one, 1, 1), cold)
    const shrunk = await overlaid(grey(1, 1), all(grey(1, 1)), [1, 0, 0, 1], 2, 2)
    expectNear(pixel(shrunk, 0, 0), over([190, 50, 95]))
  })

  it.each([
    [1, 1],
    [1, 500],
    [500, 1],
    [3, 2],
  ])('accepts every view that preprocessing gives of a %ix%i image', async (height, width) => {
    const source = grey(height, width)
    for (const side of [1, 2, 224, 300]) {
      const crop = { crop: { height: side, width: side } }
      for (const steps of [[{ resize: { shorterSide: 256 } }, crop], [crop]]) {
        const { view } = await preprocess(source, { ...imagenet, steps })
        const result = await overlaid(source, view, [0, 1, 1, 0], 2, 2)
        expect(result).toMatchObject({ height, width })
        expect(changed(result, source).height).toBeGreaterThanOrEqual(1)
      }
    }
  })
})
