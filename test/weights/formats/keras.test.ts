import { mkdtempSync, readdirSync, readFileSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Checkpoint } from '../../../lib/weights/checkpoint/checkpoint.ts'
import { mostNumbers, partBytes, partsOf } from '../../../lib/weights/formats/hdf5/data.ts'
import { Hdf5Library } from '../../../lib/weights/formats/hdf5/library.ts'
import { isHdf5, openKerasArchive, openKerasHdf5 } from '../../../lib/weights/formats/keras/open-keras.ts'
import { type FloatType, storedBytes } from '../../../lib/weights/tensors/stored-type.ts'
import { temporaryFolder } from '../../support/files.ts'
import { someFloats, writeHdf5 } from '../../support/hdf5.ts'
import { zip } from '../../support/raw-zip.ts'

const folder = temporaryFolder()
const path = join(folder, 'model.h5')
let library: Hdf5Library
beforeAll(async () => {
  library = await Hdf5Library.start()
})
afterAll(() => library.end())
const open = (file = path) => openKerasHdf5(file, { library })

const kernel = someFloats([3, 3, 2, 4], 1)
const small = someFloats([4], 2)
const dense = someFloats([4, 3], 3)
const bn = ['gamma', 'beta', 'moving_mean', 'moving_variance']

/** Datasets of a convolution, a batch norm and a dense layer, at what `place` makes of layer, variable and its number. */
const layers = (place: (layer: string, variable: string, i: number) => string) => [
  { path: place('conv1_conv', 'kernel', 0), shape: [3, 3, 2, 4], data: kernel },
  { path: place('conv1_conv', 'bias', 1), shape: [4], data: small },
  ...bn.map((name, i) => ({ path: place('conv1_bn', name, i), shape: [4], data: small.map(x => x + i) })),
  { path: place('predictions', 'kernel', 0), shape: [4, 3], data: dense },
  { path: place('predictions', 'bias', 1), shape: [3], data: small.slice(0, 3) },
]
const groups: { readonly [layer: string]: string } = {
  conv1_conv: 'conv2d',
  conv1_bn: 'batch_normalization',
  predictions: 'dense',
}
const byNumber = layers((layer, _, i) => `layers/${groups[layer]}/vars/${i}`)
const namedGroups = Object.fromEntries(
  Object.entries(groups).map(([name, group]) => [`layers/${group}/vars`, { name }]),
)

async function expectLayers(checkpoint: Checkpoint) {
  expect([...checkpoint.tensors.keys()].sort()).toEqual(
    [
      ...bn.map(name => `conv1_bn/${name}`),
      'conv1_conv/bias',
      'conv1_conv/kernel',
      'predictions/bias',
      'predictions/kernel',
    ].sort(),
  )
  expect(checkpoint.tensors.get('conv1_conv/kernel')).toEqual({
    shape: [3, 3, 2, 4],
    dtype: 'F32',
    length: 72,
  })
  expect(await checkpoint.read('conv1_conv/kernel')).toEqual(kernel)
  expect(await checkpoint.read('conv1_conv/bias')).toEqual(small)
  for (const [i, name] of bn.entries())
    expect(await checkpoint.read(`conv1_bn/${name}`)).toEqual(small.map(x => x + i))
  expect(await checkpoint.read('predictions/kernel')).toEqual(dense)
  expect(await checkpoint.read('predictions/bias')).toEqual(small.slice(0, 3))
}

describe('openKerasHdf5', () => {
  it.each([
    ['weights, of Keras 2', (layer: string, name: string) => `${layer}/${layer}/${name}:0`],
    ['a whole model, of Keras 3', (layer: string, name: string) => `model_weights/${layer}/${layer}/${name}`],
    ['a model in a model', (layer: string, name: string) => `model_weights/resnet50/${layer}/${name}:0`],
    [
      'layers whose inner names got a number',
      (layer: string, name: string) => `${layer}/${layer}_1/${name}:0`,
    ],
  ])('reads %s', async (_, place) => {
    const optimiser = { path: 'optimizer_weights/adam/m:0', shape: [4], data: small }
    await writeHdf5(path, [...layers(place), optimiser], {
      '': { keras_version: '2.15.0', backend: 'tensorflow' },
    })
    await using checkpoint = await open()
    expect(checkpoint.format).toBe('Keras HDF5')
    expect([...checkpoint.metadata].sort()).toEqual([['backend', 'tensorflow'], ['keras_version', '2.15.0']]) // biome-ignore format: short
    await expectLayers(checkpoint)
    await expect(checkpoint.read('conv1_conv/none')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
  })

  const dense_ = (activation: unknown, more = {}) => ({
    class_name: 'Dense',
    config: { name: 'predictions', activation, ...more },
  })
  const base = { class_name: 'Conv2D', config: { name: 'conv1_conv', activation: 'relu' } }
  const sequential = (...last: object[]) => ({
    class_name: 'Sequential',
    config: { name: 'mine', layers: [base, ...last] },
  })
  const loss = (class_name: string, from_logits = true) => ({
    loss: { class_name, config: { from_logits } },
  })
  it.each<[string, unknown, object, string | undefined]>([
    ['softmax', sequential(dense_('softmax')), {}, 'softmax'],
    ['sigmoid', sequential(dense_('sigmoid')), {}, 'sigmoid'],
    ['linear', sequential(dense_('linear')), {}, 'none'],
    [
      'linear, with a loss of probabilities',
      sequential(dense_('linear')),
      loss('BinaryCrossentropy', false),
      'none',
    ],
    ['linear, with a loss of yes or no', sequential(dense_('linear')), loss('BinaryCrossentropy'), 'sigmoid'],
    [
      'linear, with a loss of one of many',
      sequential(dense_('linear')),
      loss('SparseCategoricalCrossentropy'),
      'softmax',
    ],
    ['tanh', sequential(dense_('tanh')), {}, 'tanh'],
    [
      'a function by its name',
      sequential(dense_({ class_name: 'function', config: 'sigmoid' })),
      {},
      'sigmoid',
    ],
    [
      'a layer of its own',
      sequential(dense_('linear'), {
        class_name: 'Activation',
        config: { name: 'out', activation: 'sigmoid' },
      }),
      {},
      'sigmoid',
    ],
    [
      'a softmax layer',
      sequential(dense_('linear'), { class_name: 'Softmax', config: { name: 'out' } }),
      {},
      'softmax',
    ],
    ['a model in a model', sequential({ ...sequential(dense_('sigmoid')), name: 'inner' }), {}, 'sigmoid'],
    [
      'the layer that is named as the output',
      {
        class_name: 'Functional',
        config: { layers: [dense_('sigmoid'), base], output_layers: [['predictions', 0, 0]] },
      },
      {},
      'sigmoid',
    ],
    ['what is no configuration', 7, {}, undefined],
  ])('reads the activation that the model ends with: %s', async (_, model, training, expected) => {
    const place = (layer: string, name: string) => `model_weights/${layer}/${layer}/${name}`
    await writeHdf5(path, layers(place), {
      '': { model_config: JSON.stringify(model), training_config: JSON.stringify(training) },
    })
    await using checkpoint = await open()
    expect(checkpoint.metadata.get('residual.activation')).toBe(expected)
    expect([...checkpoint.metadata.keys()]).not.toContain('model_config')
  })

  it('reads .weights.h5, whose layers have numbers and say their names', async () => {
    await writeHdf5(path, [...byNumber, { path: 'optimizer/vars/0', shape: [4], data: small }], namedGroups)
    await using checkpoint = await open()
    await expectLayers(checkpoint)
  })

  it('refuses layers that do not say which they are', async () => {
    await writeHdf5(path, byNumber)
    await expect(open()).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining("'layers/batch_normalization/vars' does not name its layer"),
    })
  })

  it('reads data that is compressed, of another type, or larger than a piece', async () => {
    const large = someFloats([3, 700, 900], 5) // 7.5 MB
    await writeHdf5(path, [
      { path: 'a/a/kernel', shape: [3, 700, 900], data: large },
      { path: 'b/b/kernel', shape: [3, 700, 900], data: large, chunks: [1, 70, 90] },
      { path: 'c/c/kernel', shape: [2], data: new Float64Array([0.1, -2]) },
      { path: 'd/d/step', shape: [2], data: new Int32Array([1, 2]) },
    ])
    await using checkpoint = await open()
    for (const name of ['a/kernel', 'b/kernel'])
      expect(Buffer.from((await checkpoint.read(name)).buffer).equals(Buffer.from(large.buffer)), name).toBe(
        true,
      )
    expect(await checkpoint.read('c/kernel')).toEqual(new Float32Array([0.1, -2]))
    expect(checkpoint.tensors.get('d/step')!.dtype).toBe('I32')
    await expect(checkpoint.read('d/step')).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
  })

  it('needs the library no more for numbers that lie in the file as they are, and turns them as they are read', async () => {
    const own = await Hdf5Library.start()
    const large = someFloats([3, 3, 70, 200], 6)
    await writeHdf5(path, [
      { path: 'a/a/kernel', shape: [3, 3, 70, 200], data: large },
      { path: 'b/b/kernel', shape: [2], data: new Float64Array([0.1, -2]) },
      { path: 'c/c/scalar', shape: [], data: new Float32Array([3]) },
      { path: 'd/d/step', shape: [2], data: new Int32Array([1, 2]) },
    ])
    await using checkpoint = await openKerasHdf5(path, { library: own })
    await own.end()
    expect(Buffer.from((await checkpoint.read('a/kernel')).buffer).equals(Buffer.from(large.buffer))).toBe(
      true,
    )
    expect(await checkpoint.read('b/kernel')).toEqual(new Float32Array([0.1, -2]))
    expect(await checkpoint.read('c/scalar')).toEqual(new Float32Array([3]))
    await expect(checkpoint.read('d/step')).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    const turned = await checkpoint.readTurned!('a/kernel', [3, 2, 0, 1])
    const expected = Float32Array.from({ length: large.length }, (_, i) => {
      const [pixel, c, k] = [i % 9, Math.floor(i / 9) % 70, Math.floor(i / 630)]
      return large[(pixel * 70 + c) * 200 + k]!
    })
    expect(Buffer.from(turned.buffer).equals(Buffer.from(expected.buffer))).toBe(true)
  })

  it('refuses numbers that are not finite', async () => {
    await writeHdf5(path, [{ path: 'a/a/kernel', shape: [2], data: new Float32Array([1, Number.NaN]) }])
    await using checkpoint = await open()
    await expect(checkpoint.read('a/kernel')).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: `'a/kernel' in ${path} is NaN at index 1.`,
    })
  })

  it('follows no link to another file, and no circle of groups for ever', async () => {
    const secret = join(folder, 'secret.h5')
    await writeHdf5(secret, [{ path: 'kernel', shape: [1], data: new Float32Array([7]) }])
    await writeHdf5(path, [{ path: 'a/a/kernel', shape: [4], data: small }], {}, root =>
      root.create_external_link(secret, '/kernel', 'stolen'),
    )
    await using checkpoint = await open()
    expect([...checkpoint.tensors.keys()]).toEqual(['a/kernel'])
    await writeHdf5(path, [{ path: 'a/a/kernel', shape: [4], data: small }], {}, root =>
      root.create_hard_link('/a', '/a/again'),
    )
    await expect(open()).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('nested more than 16 levels deep'),
    })
  })

  it('ends a library that loops: the heap of this file has an object of no size', async () => {
    await writeHdf5(path, byNumber, namedGroups)
    const bytes = readFileSync(path)
    const inHeap = bytes.indexOf('GCOL') + 10
    writeFileSync(path, Buffer.concat([bytes.subarray(0, inHeap), Buffer.of(0), bytes.subarray(inHeap)]))
    await expect(openKerasHdf5(path)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('the HDF5 library does not finish reading it'),
    })
  })

  it('refuses more data than the file can hold', async () => {
    const zeros = new Float32Array(4 << 20)
    await writeHdf5(path, [{ path: 'a/a/kernel', shape: [4 << 20], data: zeros, chunks: [1 << 20] }])
    await expect(open()).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(`its data claims ${16 << 20} bytes`),
    })
  })

  it('says what is wrong with what is no such file', async () => {
    await expect(open(join(folder, 'none'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await expect(open(folder)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: `${folder} is not a valid Keras HDF5 file: it is not a file.`,
    })
    for (const bytes of [new Uint8Array(0), new Uint8Array(5000)]) {
      writeFileSync(path, bytes)
      await expect(open()).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    }
    await writeHdf5(path, byNumber, namedGroups)
    truncateSync(path, 3000)
    await expect(open()).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
  })

  it('notices that a file was changed or cut after it was opened', async () => {
    await writeHdf5(path, byNumber, namedGroups)
    await using checkpoint = await open()
    truncateSync(path, 3000)
    utimesSync(path, 1, 1)
    await expect(checkpoint.read('conv1_conv/kernel')).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('it has changed since it was opened'),
    })
  })

  it('says that a closed file cannot be read, and closes twice', async () => {
    await writeHdf5(path, byNumber, namedGroups)
    const checkpoint = await openKerasHdf5(path) // with a thread of its own
    const reading = expect(
      checkpoint.read('conv1_conv/kernel').then(
        () => 'read',
        ({ code }) => code,
      ),
    ).resolves.toMatch(/^(read|FILE_NOT_FOUND)$/)
    await checkpoint.close()
    await checkpoint.close()
    await reading
    await expect(checkpoint.read('conv1_conv/kernel')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })

  it('is known by its first bytes', async () => {
    await writeHdf5(path, byNumber)
    expect(isHdf5(readFileSync(path).subarray(0, 8))).toBe(true)
    expect(isHdf5(Buffer.from('PK\x03\x04    '))).toBe(false)
    expect(isHdf5(new Uint8Array(3))).toBe(false)
  })
})

describe('openKerasArchive', () => {
  const archive = join(folder, 'model.keras')
  const config = {
    class_name: 'Functional',
    config: {
      layers: [
        { class_name: 'InputLayer', config: { name: 'input' }, name: 'input' },
        { class_name: 'Conv2D', config: { name: 'conv1_conv' }, name: 'conv1_conv' },
        { class_name: 'BatchNormalization', config: { name: 'conv1_bn' } },
        { class_name: 'Dense', config: { name: 'predictions' } },
      ],
    },
  }
  const texts = { 'metadata.json': '{"keras_version":"3.0.0","n":1}', 'config.json': JSON.stringify(config) }
  const write = async (
    attributes: typeof namedGroups,
    more: { [name: string]: { bytes: Uint8Array; deflated?: Buffer } } = {},
  ) => {
    await writeHdf5(path, byNumber, attributes)
    const entries = Object.entries(texts).map(([name, text]) => [name, { bytes: Buffer.from(text) }])
    const weights = { bytes: readFileSync(path) }
    writeFileSync(archive, zip({ ...Object.fromEntries(entries), 'model.weights.h5': weights, ...more }))
  }

  it.each([
    ['says them itself', namedGroups],
    ['leaves them to the configuration', {}],
  ])(
    // biome-ignore format: short
    'reads the weights where they lie; their file %s',
    async (_, attributes) => {
      await write(attributes)
      await using checkpoint = await openKerasArchive(archive, { library })
      expect(checkpoint.format).toBe('Keras archive')
      expect([...checkpoint.metadata]).toEqual([['keras_version', '3.0.0']])
      await expectLayers(checkpoint)
    },
  )

  it('unpacks weights that are compressed, and leaves nothing behind', async () => {
    const own = mkdtempSync(join(folder, 'tmp-')) // in the usual place other processes unpack theirs
    const unpacked = () => readdirSync(own)
    vi.stubEnv('TMPDIR', own)
    onTestFinished(() => void vi.unstubAllEnvs())
    await writeHdf5(path, byNumber, namedGroups)
    const bytes = readFileSync(path)
    await write(namedGroups, { 'model.weights.h5': { bytes, deflated: deflateRawSync(bytes) } })
    await using checkpoint = await openKerasArchive(archive, { library })
    await expectLayers(checkpoint)
    expect(unpacked()).toEqual([])
    const bomb = Buffer.alloc(40 << 20)
    await write(namedGroups, { 'model.weights.h5': { bytes: bomb, deflated: deflateRawSync(bomb) } })
    await expect(openKerasArchive(archive, { library })).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('claim to unpack from'),
    })
    await write(namedGroups, {
      'model.weights.h5': { bytes, deflated: deflateRawSync(bytes).fill(7, 100, 200) },
    })
    await expect(openKerasArchive(archive, { library })).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    expect(unpacked()).toEqual([])
  })

  it.each([
    ['weights', 'model.weights.h5', false],
    ['compressed weights', 'model.weights.h5', true],
    ['a configuration', 'config.json', false],
  ])('refuses %s that are not what their checksum was made of', async (_, name, compressed) => {
    await writeHdf5(path, byNumber, namedGroups)
    const files = { 'config.json': Buffer.from(texts['config.json']), 'model.weights.h5': readFileSync(path) }
    const bytes = files[name as keyof typeof files]
    const damaged = Buffer.from(bytes)
    damaged[damaged.length - 3]! ^= 1
    await write(namedGroups, { [name]: { bytes, ...(compressed && { deflated: deflateRawSync(damaged) }) } })
    if (!compressed) {
      const whole = readFileSync(archive)
      damaged.copy(whole, whole.indexOf(bytes))
      writeFileSync(archive, whole)
    }
    await expect(openKerasArchive(archive, { library })).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(`its '${name}' is damaged`),
    })
  })

  it('says what is wrong with what is no such file', async () => {
    await expect(openKerasArchive(join(folder, 'none'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    writeFileSync(archive, zip({ 'config.json': { bytes: Buffer.from('{}') } }))
    await expect(openKerasArchive(archive)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: `${archive} is not a valid Keras archive file: it has no 'model.weights.h5'.`,
    })
    for (const bytes of [Buffer.alloc(0), Buffer.from('PK\x03\x04 and nothing')]) {
      writeFileSync(archive, bytes)
      await expect(openKerasArchive(archive)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    }
  })
})

it.each([
  [[], 4],
  [[0, 3], 4],
  [[5], 2],
  [[2, 3, 4], 5],
  [[2, 3, 4], 1],
  [[2, 3, 4], 100],
  [[1, 1, 7, 3], 6],
])(
  // biome-ignore format: short
  'takes an array of shape %j apart into parts of at most %i elements, each after the other',
  (shape, most) => {
    const flat = (index: readonly number[]) => index.reduce((at, n, i) => at * shape[i]! + n, 0)
    let at = 0
    for (const { offset, count, length } of partsOf(shape, most)) {
      expect(flat(offset)).toBe(at)
      expect(count.reduce((a, b) => a * b, 1)).toBe(length)
      expect(length).toBeLessThanOrEqual(Math.max(most, 1))
      at += length
      expect(flat(offset.map((n, i) => n + count[i]! - 1))).toBe(at - 1) // its last element: nothing is left out between
    }
    expect(at).toBe(shape.reduce((a, b) => a * b, 1))
  },
)

it.each(Object.entries(storedBytes))('has room for a part of a dataset of %s', (type, bytes) => {
  const numbers = mostNumbers(type as FloatType)
  expect(Number.isInteger(numbers)).toBe(true)
  expect(numbers * Math.max(bytes, Float32Array.BYTES_PER_ELEMENT)).toBeLessThanOrEqual(partBytes)
})
