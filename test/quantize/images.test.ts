import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Preprocessing } from '../../lib/index.ts'
import { bytesOfImage, type Pixels, prepareImages } from '../../lib/quantize/images.ts'
import { foldedWeights, Trial } from '../../lib/quantize/trial.ts'
import { temporaryFolder } from '../support/files.ts'
import { noise } from '../support/images.ts'
import { tinyBytes, tinyPlan, tinyWeights } from '../support/tiny.ts'

const folder = temporaryFolder()
const paths = Array.from({ length: 6 }, (_, i) => join(folder, `${i}.png`))
const preprocessing: Preprocessing = {
  steps: [{ resize: { height: 8, width: 8 } }],
  interpolation: 'bilinear',
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
}
const bytesEach = 8 * 8 * 3

beforeAll(async () => {
  for (const [i, path] of paths.entries()) {
    const { data } = noise(12, 10, i + 1)
    await sharp(data, { raw: { height: 12, width: 10, channels: 3 } })
      .png()
      .toFile(path)
  }
})

const prepared = async (mostBytes: number, signal?: AbortSignal) => {
  const given = paths.map(image => ({ image, label: 1 }))
  const options = { most: 6, mostBytes, preprocessing, onImage: () => {}, signal }
  const { images } = await prepareImages(given, options)
  return images.map(({ pixels }) => pixels)
}

const isKept = (pixels: Pixels) => pixels instanceof Uint8Array

describe('images that are prepared', () => {
  it('are kept in memory up to a number of bytes, and made again from their files beyond it', async () => {
    const [all, some] = [await prepared(6 * bytesEach), await prepared(3 * bytesEach + 1)]
    expect(all.map(isKept)).toEqual(Array(6).fill(true))
    expect(some.map(isKept)).toEqual([true, true, true, false, false, false])
    const again = await Promise.all(some.map(bytesOfImage))
    expect(again).toEqual(all)
    expect(again[4]).toHaveLength(bytesEach)
  })

  it('are computed with either way', async () => {
    const weights = await foldedWeights(tinyPlan, tinyWeights, () => {})
    const trial = await Trial.open(tinyPlan, weights, 1)
    const bytes = Array.from({ length: 20 }, (_, i) => tinyBytes(i + 1).slice(0, tinyBytes(1).length))
    const expected = await trial.logits(bytes)
    const made = bytes.map((each, i) => (i % 3 === 0 ? each : async () => each))
    expect(await trial.logits(made)).toEqual(expected)
    expect((await trial.observe(made)).logits).toEqual(expected)
    await trial.capture(made[1]!)
    expect(trial.resultOf('fc')).toEqual(expected[1])
    trial.dispose()
  })

  it('are refused when they are needed if their files cannot be read any more', async () => {
    const last = (await prepared(0))[5]!
    const before = readFileSync(paths[5]!)
    rmSync(paths[5]!)
    await expect(bytesOfImage(last)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    writeFileSync(paths[5]!, before)
    expect(await bytesOfImage(last)).toHaveLength(bytesEach)
  })

  it('are not made again after the work was stopped', async () => {
    const stop = new AbortController()
    const [first] = await prepared(0, stop.signal)
    stop.abort(new Error('stopped'))
    await expect(bytesOfImage(first!)).rejects.toThrow('stopped')
  })
})
