import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  initialise,
  load,
  openModel,
  parametersOf,
  type QuantizeOptions,
  type QuantizeProgress,
  quantize,
  resnet,
  saveModel,
} from '../../lib/index.ts'
import { topOf } from '../../lib/quantize/agreement.ts'
import { splitOf } from '../../lib/quantize/images.ts'
import { temporaryFolder } from '../support/files.ts'
import { relativeError } from '../support/golden.ts'
import { noise } from '../support/images.ts'

const folder = temporaryFolder()
const architecture = { layers: 18, classes: 4, width: 0.25 }
const labels = ['ant', 'bee', 'cat', 'dog']
const model = join(folder, 'small.safetensors')
const preprocessing = {
  steps: [{ resize: { height: 32, width: 32 } }],
  interpolation: 'bilinear',
  mean: [0.5, 0.4, 0.3],
  std: [0.2, 0.25, 0.3],
} as const

/** Images with a class each, of noise around a grey of its own, as files. */
let images: { image: string; label: number }[]

beforeAll(async () => {
  await saveModel(model, {
    architecture,
    weights: initialise(parametersOf(resnet(architecture)), 1),
    labels,
    activation: 'softmax',
    preprocessing: { ...preprocessing, mean: [...preprocessing.mean], std: [...preprocessing.std] } as never,
  })
  images = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const path = join(folder, `${i}.png`)
      const { data } = noise(32, 32, i + 1)
      const grey = data.map(x => x * 0.5 + i * 3)
      await sharp(grey, { raw: { height: 32, width: 32, channels: 3 } })
        .png()
        .toFile(path)
      return { image: path, label: i % 4 }
    }),
  )
})

const quantized = (name: string, options: Partial<QuantizeOptions> = {}) =>
  quantize(model, join(folder, name), { images, samples: 16, threads: 1, ...options })

describe('quantize', () => {
  it('writes a model that gives the answers that its report tells of', async () => {
    const steps: QuantizeProgress[] = []
    const out = join(folder, 'out.safetensors')
    const report = await quantized('out.safetensors', { onProgress: progress => steps.push(progress) })
    expect(report).toMatchObject({
      model,
      out,
      images: { asked: 16, calibrated: 16, compared: 24, unreadable: [] },
      agreement: { wanted: 0.99, isPromised: false },
      accuracy: { images: 24 },
    })
    expect(report.bytes.after).toBeLessThan(0.4 * report.bytes.before)
    expect(report.noise.map(({ name }) => name)).toContain('layer4.1.conv2')
    for (const { decibels } of report.noise) expect(decibels).toBeGreaterThan(15)

    await using before = await load(model, { device: 'cpu' })
    await using after = await load(out, { device: 'cpu' })
    expect(after.session.device).toMatchObject({ precision: 'int8' })
    expect(after.labels).toEqual(labels)
    const [tops, quantizedTops] = [await topsOf(before), await topsOf(after)]
    // Which of them it was compared by does not matter: of all images as many agree, to within those that calibrated it.
    const same = tops.filter((top, i) => top === quantizedTops[i]).length
    const told = report.agreement.share * 24
    expect(same).toBeGreaterThanOrEqual(told)
    expect(same).toBeLessThanOrEqual(told + 16)

    const names = [...new Set(steps.map(({ step }) => step))]
    expect(names[0]).toBe('decoding images')
    // One pass over the images calibrates it.
    expect(steps.filter(({ step }) => step === 'calibrating').map(({ total }) => total)).toEqual([16, 16])
    expect(names.at(-1)).toBe('writing')
    for (const { done, total } of steps) expect(done).toBeLessThanOrEqual(total)
  })

  const topsOf = async (classifier: Awaited<ReturnType<typeof load>>) =>
    (
      await classifier.classify(
        images.map(({ image }) => image),
        { topK: 1 },
      )
    ).map(([top]) => top!.index)

  it('lets other work of its thread go on while it rounds weights and chooses ranges', async () => {
    const wide = join(folder, 'wide.safetensors')
    const its = { layers: 18, classes: 4 } as const // 11 million weights
    const weights = initialise(parametersOf(resnet(its)), 1)
    await saveModel(wide, { architecture: its, weights, preprocessing: preprocessing as never })
    let [step, begin, turns, milliseconds, isDone] = ['', 0, 0, 0, false]
    const take = () => {
      if (step === 'rounding weights') turns++
      if (!isDone) setImmediate(take)
    }
    take()
    const onProgress = (progress: QuantizeProgress) => {
      if (progress.step === step) return
      if (step === 'rounding weights') milliseconds = performance.now() - begin
      begin = performance.now()
      step = progress.step
    }
    const out = join(folder, 'wide int8.safetensors')
    await quantize(wide, out, { images, samples: 8, threads: 1, agreement: 0, onProgress })
    isDone = true
    expect(milliseconds / turns).toBeLessThan(40)
  })

  it('gives the same file for the same images', async () => {
    await quantized('first.safetensors')
    await quantized('second.safetensors')
    expect(readFileSync(join(folder, 'first.safetensors'))).toEqual(
      readFileSync(join(folder, 'second.safetensors')),
    )
  })

  it('computes from the file what it computed while it compared', async () => {
    const report = await quantized('same.safetensors', { samples: 1, mostCompared: 1000, method: 'max' })
    await using after = await load(report.out, { device: 'cpu', threads: 2 })
    await using before = await load(model, { device: 'cpu' })
    let same = 0
    for (const { image } of images) {
      const { pixels } = await before.prepare(image)
      const [{ logits: a }, { logits: b }] = [await before.run(pixels), await after.run(pixels)]
      if (topOf(a) === topOf(b)) same++
    }
    expect(report.images.compared).toBe(39)
    const others = same - Math.round(report.agreement.share * 39)
    expect([0, 1]).toContain(others) // the one that calibrated it
  })

  it.each([
    ['ResNet-D', { layers: 50, deepStem: [16, 16], averagedShortcut: true }],
    ['ResNeXt', { layers: 50, groups: 4, widthPerGroup: 8 }],
    ['ResNet-34, v1', { layers: 34, stride: 'v1' }],
    ['of one class', { layers: 18, classes: 1 }],
  ] as const)('writes other networks too: %s', async (title, options) => {
    const its = { ...architecture, ...options }
    const path = join(folder, `${title}.safetensors`)
    await saveModel(path, {
      architecture: its,
      weights: initialise(parametersOf(resnet(its)), 2),
      preprocessing: preprocessing as never,
    })
    const unlabelled = images.map(({ image }) => image)
    const out = join(folder, `${title} int8.safetensors`)
    const report = await quantize(path, out, {
      images: unlabelled,
      samples: 16,
      threads: 1,
      method: 'max',
      agreement: 0,
    })
    expect(report.accuracy).toBeUndefined()
    await using before = await load(path, { device: 'cpu' })
    await using after = await load(out, { device: 'cpu' })
    expect(after.session.device).toMatchObject({ precision: 'int8' })
    for (const image of unlabelled.slice(0, 5)) {
      const { pixels } = await before.prepare(image)
      const [{ features: a }, { features: b }] = [await before.run(pixels), await after.run(pixels)]
      expect(relativeError(b, a)).toBeLessThan(0.15)
    }
  })

  it('keeps what hurts in bf16 until the agreement that was asked for is reached', async () => {
    const loose = await quantized('loose.safetensors', { agreement: 0 })
    expect(loose.kept).toEqual([])
    const strict = await quantized('strict.safetensors', { agreement: 1 })
    expect(strict.agreement.share).toBeGreaterThanOrEqual(loose.agreement.share)
    if (loose.agreement.share < 1) expect(strict.kept.length).toBeGreaterThan(0)
    await using opened = await openModel(strict.out)
    expect(Object.keys(opened.weights.quantization!.kept)).toEqual(strict.kept.map(({ name }) => name))
  })

  it('names images that it cannot read, and takes others', async () => {
    const bad = join(folder, 'bad.png')
    writeFileSync(bad, 'no image')
    const report = await quantized('unreadable.safetensors', {
      images: [...images, { image: bad }, join(folder, 'missing.png'), new Uint8Array(9)],
      mostCompared: 1000,
    })
    expect(report.images).toMatchObject({ calibrated: 16, compared: 24 })
    const names = report.images.unreadable.map(({ image }) => image)
    expect(names).toHaveLength(3)
    expect(names).toEqual(expect.arrayContaining([bad, join(folder, 'missing.png')]))
  })

  it('takes half of the images to calibrate with if there are too few', async () => {
    const report = await quantized('few.safetensors', { images: images.slice(0, 5), samples: 256 })
    expect(report.images).toMatchObject({ asked: 256, calibrated: 2, compared: 3 })
    expect(splitOf(1000, 256, 100)).toEqual({ calibrating: 256, comparing: 100 })
  })

  it('refuses what it cannot do before it begins', async () => {
    const name = 'never.safetensors'
    await expect(quantized(name, { images: [] })).rejects.toThrow('at least 2 readable images')
    const missing = [join(folder, 'a.png'), join(folder, 'b.png')]
    await expect(quantized(name, { images: missing })).rejects.toMatchObject({ code: 'DECODE_FAILED' })
    await expect(quantized('never.onnx')).rejects.toThrow("ends in '.safetensors'")
    await expect(quantized('no/folder/never.safetensors')).rejects.toMatchObject({
      code: 'FILE_WRITE_FAILED',
    })
    mkdirSync(join(folder, 'folder.safetensors'))
    await expect(quantized('folder.safetensors')).rejects.toMatchObject({ code: 'FILE_WRITE_FAILED' })
    await expect(quantized(name, { images: [{ image: 'x', label: 4 }] })).rejects.toThrow('label')
    await expect(quantized(name, { images: ['x', 5] as never })).rejects.toThrow('an image')
    await expect(quantized(name, { images: 'x' as never })).rejects.toThrow('images')
    await expect(quantized(name, { agreement: 2 })).rejects.toThrow('agreement')
    await expect(quantized(name, { method: 'best' as never })).rejects.toThrow('method')
    await expect(quantized(name, { sample: 3 } as never)).rejects.toThrow('sample')
  })

  it('refuses a model that is quantized already', async () => {
    const { out } = await quantized('once.safetensors')
    const again = quantize(out, join(folder, 'twice.safetensors'), { images, samples: 16 })
    await expect(again).rejects.toMatchObject({ code: 'MODEL_INVALID' })
    await expect(again).rejects.toThrow('quantized already')
  })

  it('stops between its steps, and writes nothing', async () => {
    for (const step of ['decoding images', 'calibrating', 'comparing', 'writing']) {
      const stop = new AbortController()
      const onProgress = (progress: QuantizeProgress) => {
        if (progress.step === step) stop.abort(new Error(`stopped at ${step}`))
      }
      const name = `stopped ${step}.safetensors`
      await expect(quantized(name, { signal: stop.signal, onProgress })).rejects.toThrow(`stopped at ${step}`)
      expect(() => readFileSync(join(folder, name))).toThrow('ENOENT')
    }
  })
})
