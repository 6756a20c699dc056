import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../lib/base/package-root.ts'
import { type Classifier, load } from '../lib/index.ts'
import { bundledModels } from '../lib/model-record.ts'
import { haveShared, sharedFolder } from './support/shared.ts'

const samples = join(packageRoot, 'samples')
const sample = (name: string) => join(samples, `${name}.jpg`)
const coded = (code: string) => expect.objectContaining({ name: 'ResidualError', code })

let classifier: Classifier
let folder: string
beforeAll(async () => {
  classifier = await load('resnet50-cifar10', { threads: 2 })
  folder = await mkdtemp(join(tmpdir(), 'residual-'))
})
afterAll(async () => {
  await classifier.close()
  await rm(folder, { recursive: true })
})

describe('classify', () => {
  it('classifies the samples correctly', async () => {
    const names = ['airplane', 'automobile', 'frog', 'ship', 'truck']
    const predictions = await classifier.classify(names.map(sample), { topK: 3, batch: 2 })
    expect(predictions.map(([first]) => first!.label)).toEqual(names)
    for (const [first, second, third, ...rest] of predictions) {
      expect(first!.probability).toBeGreaterThan(0.7)
      expect(first!.probability).toBeGreaterThanOrEqual(second!.probability)
      expect(second!.probability).toBeGreaterThanOrEqual(third!.probability)
      expect(rest).toEqual([])
      expect(classifier.labels[first!.index]).toBe(first!.label)
    }
  })

  it("accepts a file's bytes as well as its path", async () => {
    const [fromPath, fromBytes] = await classifier.classify([sample('ship'), await readFile(sample('ship'))])
    expect(fromBytes).toEqual(fromPath)
  })

  it('returns five classes by default, and no more than there are', async () => {
    expect((await classifier.classify([sample('ship')]))[0]).toHaveLength(5)
    expect((await classifier.classify([sample('ship')], { topK: 99 }))[0]).toHaveLength(10)
    expect(await classifier.classify([])).toEqual([])
  })

  it('throws for an unreadable image', async () => {
    await expect(classifier.classify([sample('ship'), 'missing.jpg'])).rejects.toEqual(
      coded('FILE_NOT_FOUND'),
    )
    await expect(classifier.classify('ship.jpg' as unknown as string[])).rejects.toThrow(TypeError)
    await expect(classifier.classify([], { topK: 0 })).rejects.toThrow(RangeError)
  })
})

describe('each', () => {
  it('continues after an unreadable image', async () => {
    const results = []
    const images = ['missing.jpg', sample('ship'), join(packageRoot, 'package.json'), sample('frog')]
    for await (const result of classifier.each(images, { batch: 3, outputs: ['probabilities'] })) {
      results.push(
        'error' in result ? (result.error as { code: string }).code : result.outputs.probabilities.length,
      )
    }
    expect(results).toEqual(['FILE_NOT_FOUND', 10, 'DECODE_FAILED', 10])
  })
})

describe('run', () => {
  it('gives logits and pooled features of prepared pixels', async () => {
    const { pixels, view } = await classifier.prepare(sample('frog'))
    expect(pixels).toHaveLength(64 * 64 * 3)
    const { width, height } = await sharp(sample('frog')).metadata()
    expect(Math.round(view.height)).toBe(Math.min(width, height))
    const { logits, features } = await classifier.run(pixels)
    expect(logits).toHaveLength(10)
    expect(features).toHaveLength(512)
    expect(classifier.labels[logits.indexOf(Math.max(...logits))]).toBe('frog')
  })
})

describe('activationMap', () => {
  it("averages, plus the bias, to its class's logit", async () => {
    const { pixels } = await classifier.prepare(sample('ship'))
    const { featureMaps, logits } = await classifier.run(pixels, { outputs: ['featureMaps', 'logits'] })
    const mean = (index: number) => {
      const { map } = classifier.activationMap(featureMaps, index)
      return map.reduce((a, b) => a + b) / map.length
    }
    // The bias is the same for all images: the difference of two maps' means between two images shows no bias.
    const other = await classifier.run((await classifier.prepare(sample('frog'))).pixels, {
      outputs: ['featureMaps', 'logits'],
    })
    const { map } = classifier.activationMap(other.featureMaps, 8)
    const otherMean = map.reduce((a, b) => a + b) / map.length
    expect(mean(8) - otherMean).toBeCloseTo(logits[8]! - other.logits[8]!, 3)
  })
})

describe('load', () => {
  it('reads the weights that maps take only where maps are wanted', async () => {
    await using without = await load('resnet50-cifar10', { threads: 2, activationMaps: false })
    const { pixels } = await without.prepare(sample('ship'))
    const { featureMaps } = await without.run(pixels, { outputs: ['featureMaps'] })
    expect(() => without.activationMap(featureMaps, 8)).toThrow(
      new RangeError("Expected true for load()'s option activationMaps but received false"),
    )
    await expect(load('resnet50-cifar10', { activationMaps: 1 as unknown as boolean })).rejects.toThrow(
      TypeError,
    )
  })

  const bundled = bundledModels()[0]!

  it('lists the known models', async () => {
    const error = await load('resnet1000').catch(e => e)
    expect(error).toEqual(coded('MODEL_NOT_FOUND'))
    expect(error.message).toContain('resnet50-cifar10')
    await expect(load(7 as unknown as string)).rejects.toThrow(TypeError)
    await expect(load('missing.safetensors')).rejects.toEqual(coded('FILE_NOT_FOUND'))
  })

  it('infers the architecture of a bare checkpoint, and uses ImageNet’s preprocessing', async () => {
    const path = join(folder, 'alone.safetensors')
    await copyFile(bundled.path, path)
    await using alone = await load(path, { threads: 2 })
    expect(alone.labels[3]).toBe('class 3')
    expect((await alone.prepare(sample('frog'))).pixels).toHaveLength(224 * 224 * 3)
    const preprocessing = classifier.preprocessing
    const steps = [{ resize: { shorterSide: 64 } }]
    await expect(load(path, { preprocessing: { ...preprocessing, steps } })).rejects.toEqual(
      coded('MODEL_INVALID'),
    )
    await using same = await load(path, { threads: 2, preprocessing, labels: classifier.labels })
    expect(await same.classify([sample('frog')])).toEqual(await classifier.classify([sample('frog')]))
  })

  it.each([
    ['no JSON', 'nonsense', 'MODEL_INVALID', /not JSON/],
    ['no object', '[]', 'MODEL_INVALID', /does not hold an object/],
    ['labels that are no strings', '{"labels": [1]}', 'MODEL_INVALID', /labels in .*at index 0/],
    ['too few labels', '{"labels": ["a"]}', 'MODEL_INVALID', /1 labels for the 10 classes/],
    ['a preprocessing that is none', '{"preprocessing": {}}', 'MODEL_INVALID', /'steps'/],
    ['an architecture that is none', '{"architecture": 50}', 'MODEL_INVALID', /'architecture'/],
    [
      'another architecture',
      '{"architecture": {"layers": 18, "classes": 10, "width": 0.25}}',
      'CHECKPOINT_MISMATCH',
      /does not fit/,
    ],
  ])('refuses a record with %s', async (_, record, code, message) => {
    const path = join(folder, 'model.safetensors')
    await copyFile(bundled.path, path)
    await writeFile(join(folder, 'model.json'), record)
    const error = await load(path).catch(e => e)
    expect(error).toEqual(coded(code))
    expect(error.message).toMatch(message)
  })
})

describe.skipIf(!haveShared('cifar10-test'))('the bundled model', () => {
  it('is as accurate as PyTorch on 1,000 images (839 right), within 3', async () => {
    const paths = classifier.labels.map(label => join(sharedFolder, 'cifar10-test', label))
    const { glob } = await import('tinyglobby')
    let right = 0
    let count = 0
    for (const [index, cwd] of paths.entries()) {
      const files = await glob('*.jpg', { cwd, absolute: true })
      const predictions = await classifier.classify(files, { topK: 1, batch: 32 })
      right += predictions.filter(([first]) => first!.index === index).length
      count += files.length
    }
    expect(count).toBe(1000)
    expect(Math.abs(right - 839)).toBeLessThanOrEqual(3)
  })
})
