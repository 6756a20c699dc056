import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { load, openModel, saveModel } from '../../lib/index.ts'
import { imagenetNames, namesBySynset } from '../../lib/sidecars/imagenet-names.ts'
import { parseLabelFile } from '../../lib/sidecars/labels.ts'
import { residual } from '../support/command-line.ts'
import { temporaryFolder } from '../support/files.ts'
import { withLogits } from '../support/known-logits.ts'
import * as p from '../support/pickle.ts'
import { torchZip } from '../support/zip.ts'

const folder = temporaryFolder()
const ship = join(packageRoot, 'samples', 'ship.jpg')
const file = (name: string) => join(folder, name)

async function saved(classes: number, name = `${classes}.safetensors`): Promise<string> {
  const logits = Array.from({ length: classes }, (_, i) => (i === 207 % classes ? 9 : 0))
  await saveModel(file(name), withLogits(logits))
  return file(name)
}

describe("ImageNet's names", () => {
  it('are a thousand distinct names, in the order of every framework', () => {
    expect(new Set(imagenetNames).size).toBe(1000)
    expect(namesBySynset.size).toBe(1000)
    expect([0, 1, 207, 281, 817, 999].map(i => imagenetNames[i])).toEqual([
      ...['tench', 'goldfish', 'golden retriever', 'tabby', 'sports car', 'toilet tissue'],
    ])
    expect(namesBySynset.get('n02099601')).toBe('golden retriever')
  })

  it('are used for 1000 classes without names, and this is reported', async () => {
    const path = await saved(1000)
    await using model = await openModel(path)
    expect([model.labels[207], model.labelsFrom]).toEqual(['golden retriever', 'imagenet'])
    const { stdout, stderr } = await residual(folder, ['classify', '--model', path, '--top-k', '1', ship])
    expect(stdout).toContain('golden retriever')
    expect(stderr).toContain('using ImageNet-1k labels')
    const inspected = await residual(folder, ['inspect', path])
    expect(inspected.stdout).toMatch(/^classes +1000: tench, goldfish, .*\(ImageNet-1k's/m)
    const mine = Array.from({ length: 1000 }, (_, i) => `mine ${i}`)
    await using named = await openModel(path, { labels: mine })
    expect([named.labels[207], named.labelsFrom]).toEqual(['mine 207', 'given'])
  })

  it('are not used for any other number of classes', async () => {
    await using model = await openModel(await saved(3))
    expect([model.labels, model.labelsFrom]).toEqual([['class 0', 'class 1', 'class 2'], 'numbers'])
  })

  it("replace transformers' LABEL_0", async () => {
    const path = await saved(1000, 'hub.safetensors')
    writeFileSync(file('hub.json'), '{}')
    const id2label = Object.fromEntries(imagenetNames.map((_, i) => [i, `LABEL_${i}`]))
    writeFileSync(file('config.json'), JSON.stringify({ model_type: 'resnet', id2label }))
    await using model = await openModel(path)
    expect(model.labelsFrom).toBe('imagenet')
    writeFileSync(file('config.json'), '{}')
  })
})

describe('labels', () => {
  const three = ['tench', 'goldfish', 'great white shark']
  it.each<[string, string, string]>([
    ['imagenet_class_index.json', '{"0":["n01440764","tench"],"1":["n01443537","goldfish"],"2":["n01484850","great white shark"]}', 'an index'], // biome-ignore format: short
    [
      'synset.txt',
      'n01440764 tench\nn01443537 goldfish\r\nn01484850 great white shark\n\n',
      'names behind numbers',
    ],
    ['wnids.txt', 'n01440764\nn01443537\nn01484850\n', 'numbers of WordNet alone'],
    ['classes.txt', '\ufefftench\ngoldfish\ngreat white shark', 'a name in each line'],
    ['config.json', JSON.stringify({ id2label: { 0: three[0], 2: three[2], 1: three[1] } }), 'id2label'],
    ['list.json', JSON.stringify(three), 'a list'],
    ['object.json', '{"2":"great white shark","0":"tench","1":"goldfish"}', 'an object by number'],
    ['class_to_idx.json', '{"goldfish":1,"tench":0,"great white shark":2}', 'numbers by name'],
    ['folders.json', '{"class_to_idx":{"n01443537":1,"n01440764":0,"n01484850":2}}', 'folders of ImageNet'],
  ])('are read from %s', async (name, text) => {
    expect(parseLabelFile(text, name)).toEqual(three)
    const path = await saved(3, 'three.safetensors')
    writeFileSync(file(`labels-${name}`), text)
    await using model = await openModel(path, { labels: file(`labels-${name}`) })
    expect(model.labels).toEqual(three)
  })

  it('are given on the command line and by number', async () => {
    const path = await saved(3, 'three.safetensors')
    writeFileSync(file('names.txt'), 'a\nb\nc\n')
    const args = ['classify', '--model', path, '--labels', 'names.txt', '--json', ship]
    expect(JSON.parse((await residual(folder, args)).stdout)[0].predictions[0].label).toBe('a')
    await using classifier = await load(path, { labels: { 2: 'z', 0: 'x', 1: 'y' }, device: 'cpu' })
    expect(classifier.labels).toEqual(['x', 'y', 'z'])
  })

  it.each<[unknown, string, string]>([
    [['a', 'b'], 'MODEL_INVALID', '2 labels for the 3 classes'],
    [{ 0: 'a', 1: 'b', 3: 'c' }, 'MODEL_INVALID', 'have none with index 2'],
    [{ a: 'b' }, 'MODEL_INVALID', 'have none with index 0'],
    [['a', 7, 'c'], 'MODEL_INVALID', 'have 7 at index 1'],
    [['a', '', 'c'], 'MODEL_INVALID', 'at index 1'],
    [{}, 'MODEL_INVALID', 'are empty'],
    [7, 'MODEL_INVALID', 'are 7'],
    ['missing.txt', 'FILE_NOT_FOUND', 'does not exist'],
  ])('that do not match the number of classes are refused: %j', async (labels, code, message) => {
    const path = await saved(3, 'three.safetensors')
    await expect(openModel(path, { labels: labels as string[] })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    })
  })

  const trained = (more: { [key: string]: Buffer }) =>
    torchZip(
      p.pickle(p.dict({ w: p.torchTensor({ key: '0', numbers: 1, shape: [1], strides: [1] }), ...more })),
      {
        0: p.float32(1),
      },
    )
  it.each([
    ['class_to_idx', { class_to_idx: p.dict({ dog: p.int(1), cat: p.int(0) }) }],
    ['classes', { classes: p.list(p.str('cat'), p.str('dog')) }],
    ['CLASSES of OpenMMLab', { meta: p.dict({ CLASSES: p.tuple(p.str('cat'), p.str('dog')) }) }],
    ['its newer dataset_meta', { meta: p.dict({ dataset_meta: p.dict({ classes: p.list(p.str('cat'), p.str('dog')) }) }) }], // biome-ignore format: short
  ])('are found in a PyTorch checkpoint: %s', async (_, more) => {
    const { openCheckpoint } = await import('../../lib/index.ts')
    writeFileSync(file('trained.pth'), await trained(more))
    await using checkpoint = await openCheckpoint(file('trained.pth'))
    const labels = checkpoint.metadata.get('residual.labels')!
    expect(parseLabelFile(labels, 'it')).toEqual(['cat', 'dog'])
  })
})

describe('a record', () => {
  it.each([
    [{ lables: ['a', 'b', 'c'] }, '"lables", which is not one of architecture, labels'],
    [{ architecture: { widht: 2 } }, '"widht", which is not one of layers'],
    [{ preprocessing: { step: [] } }, 'has the unknown member "step"'],
    [{ labels: ['a', 7, 'c'] }, 'have 7 at index 1'],
  ])('with a typo is refused: %j', async (record, message) => {
    const path = await saved(3, 'typo.safetensors')
    writeFileSync(file('typo.json'), JSON.stringify(record))
    await expect(openModel(path)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining(message),
    })
  })

  it('may name the classes by number, and is not confused with what Keras and Paddle write beside weights', async () => {
    const path = await saved(3, 'record.safetensors')
    writeFileSync(file('record.json'), JSON.stringify({ labels: { 0: 'a', 1: 'b', 2: 'c' } }))
    await using model = await openModel(path)
    expect(model.labels).toEqual(['a', 'b', 'c'])
    for (const json of [
      { class_name: 'Functional', config: {} },
      { base_code: { magic: 'pir', trainable: true, version: 4 }, program: { regions: [] } },
    ]) {
      writeFileSync(file('record.json'), JSON.stringify(json))
      await using other = await openModel(path)
      expect(other.labelsFrom).toBe('numbers')
    }
  })
})
