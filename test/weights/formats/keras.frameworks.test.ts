// HDF5 as h5py and Keras themselves write it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Hdf5Library } from '../../../lib/weights/formats/hdf5/library.ts'
import { openKerasArchive, openKerasHdf5 } from '../../../lib/weights/formats/keras/open-keras.ts'
import { openCheckpoint } from '../../../lib/weights/formats/open.ts'
import { openSafetensors } from '../../../lib/weights/formats/safetensors/open-safetensors.ts'
import { temporaryFolder } from '../../support/files.ts'
import { runPython } from '../../support/python.ts'

const folder = temporaryFolder()
let library: Hdf5Library
beforeAll(async () => {
  library = await Hdf5Library.start()
})
afterAll(() => library.end())

it('reads compressed halves of more than a part', async () => {
  const code = `
import sys, h5py, numpy
with h5py.File(sys.argv[1] + '/halves.h5', 'w') as file:
    group = file.create_group('conv1_conv')
    kernel = (numpy.arange(3 * 3 * 512 * 300) % 2000).astype('f2').reshape(3, 3, 512, 300)
    group.create_dataset('kernel:0', data=kernel, compression='gzip', compression_opts=1)
    group.attrs['weight_names'] = [b'conv1_conv/kernel:0']
    file.attrs['layer_names'] = [b'conv1_conv']
`
  runPython(code, folder)
  await using file = await openKerasHdf5(join(folder, 'halves.h5'), { library })
  const [name] = file.tensors.keys()
  const values = await file.read(name!)
  expect(values.every((value, i) => value === i % 2000)).toBe(true)
})

it('reads to the bit what Keras saves of its ResNet-50, in every format', async () => {
  runPython(readFileSync(new URL('keras-resnet.py', import.meta.url), 'utf8'), folder)
  await using expected = await openSafetensors(join(folder, 'expected.safetensors'))
  for (const file of ['whole.h5', 'some.weights.h5', 'model.keras']) {
    const saved = join(folder, file)
    await using checkpoint = await (file.endsWith('.keras') ? openKerasArchive : openKerasHdf5)(saved, {
      library,
    })
    expect([...checkpoint.tensors.keys()].sort()).toEqual([...expected.tensors.keys()].sort())
    for (const [name, { shape }] of expected.tensors) {
      expect(checkpoint.tensors.get(name)!.shape).toEqual(shape)
      const [actual, wanted] = [await checkpoint.read(name), await expected.read(name)]
      expect(Buffer.from(actual.buffer).equals(Buffer.from(wanted.buffer)), `${file}: ${name}`).toBe(true)
    }
  }
})

const kerasScript = `
import os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL='3', CUDA_VISIBLE_DEVICES='')
import keras
folder = sys.argv[1]
losses = {
    'one of many': keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    'yes or no': keras.losses.BinaryCrossentropy(from_logits=True),
    'nothing': None,
}
for name, activation, loss in [(a, a, 'nothing') for a in ('softmax', 'sigmoid', 'tanh', 'linear')] + [
        (name, None, name) for name in ('one of many', 'yes or no')]:
    x = y = keras.Input((16, 16, 3))
    for layer in (keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation=activation)):
        y = layer(y)
    model = keras.Model(x, y)
    if losses[loss] is not None: model.compile(loss=losses[loss])
    model.save(os.path.join(folder, name + '.keras'))
    model.save(os.path.join(folder, name + '.h5'))
    nested = keras.Sequential([keras.Input((16, 16, 3)), keras.Model(x, y, name='inner')])
    nested.save(os.path.join(folder, name + '.nested.keras'))
import json, numpy
L, pixel = keras.layers, numpy.array([10, 100, 200], 'float32')
adapted = L.Normalization(); adapted.adapt(numpy.random.default_rng(1).random((4, 2, 2, 3)))
prepare = {
    'preprocess_input': [keras.applications.resnet.preprocess_input],
    'of MobileNet': [keras.applications.mobilenet_v2.preprocess_input],
    'Rescaling': [L.Rescaling(1 / 127.5, offset=-1)],
    'of channels': [L.RandomFlip(), L.Rescaling(1 / 255), L.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.0524, 0.0502, 0.0506])],
    'nothing': [L.RandomFlip(), L.RandomRotation(0.1)],
    'adapted': [adapted],
    'negative': [L.Rescaling(-1)],
    'Resizing': [L.Resizing(16, 16)],
    'Lambda': [L.Lambda(lambda x: x * 2)],
}
tails = {'GlobalMaxPooling2D': L.GlobalMaxPooling2D(), 'swish': None}
report = {}
for name, steps in list(prepare.items()) + [(name, []) for name in tails]:
    x = y = keras.Input((16, 16, 3))
    for step in steps: y = step(y)
    prepared = keras.Model(x, y)
    y = L.Conv2D(4, 3)(y)
    if name == 'swish': y = L.Activation('swish')(y)
    y = L.Dense(3)((tails.get(name) or L.GlobalAveragePooling2D())(y))
    for form in ('.keras', '.h5'): keras.Model(x, y).save(os.path.join(folder, name + form))
    out = keras.ops.convert_to_numpy(prepared(numpy.tile(pixel, (1, 16, 16, 1)), training=False))
    report[name] = out[0, 0, 0].tolist()
print(json.dumps(report))
`

describe("Keras' whole models", () => {
  const printed = runPython(kerasScript, folder).trim().split('\n').at(-1)!
  const pixels = JSON.parse(printed) as { [name: string]: readonly number[] }

  it.each(['preprocess_input', 'of MobileNet', 'Rescaling', 'of channels'])(
    'say what they do to images: %s',
    async name => {
      for (const form of ['.keras', '.h5']) {
        await using file = await openCheckpoint(join(folder, `${name}${form}`))
        expect(file.metadata.get('residual.problem')).toBeUndefined()
        const { range, channels, mean, std } = JSON.parse(file.metadata.get('residual.preprocessing')!)
        const bytes = channels === 'BGR' ? [200, 100, 10] : [10, 100, 200]
        const found = bytes.map((byte, c) => ((byte * range) / 255 - mean[c]) / std[c])
        for (const [c, value] of found.entries()) expect(value).toBeCloseTo(pixels[name]![c]!, 3)
      }
    },
  )

  it('say nothing of images where they only change them in training', async () => {
    await using file = await openCheckpoint(join(folder, 'nothing.keras'))
    expect(file.metadata.get('residual.preprocessing')).toBeUndefined()
    expect(file.metadata.get('residual.problem')).toBeUndefined()
  })

  it.each([
    ['adapted', /its layer 'normalization\w*' \(Normalization\)/],
    ['negative', /its layer 'rescaling\w*' \(Rescaling\)/],
    ['Resizing', /its layer 'resizing' \(Resizing\)/],
    ['Lambda', /its layer 'lambda' \(Lambda\)/],
    [
      'GlobalMaxPooling2D',
      /its layer 'global_max_pooling2d' \(GlobalMaxPooling2D\) does not occur in a ResNet/,
    ],
    ['swish', /its layer 'activation' \(Activation\) has the unsupported activation "(swish|silu)"/],
  ])('are told by the layer where they do something else: %s', async (name, problem) => {
    for (const form of ['.keras', '.h5']) {
      await using file = await openCheckpoint(join(folder, `${name}${form}`))
      expect(file.metadata.get('residual.problem')).toMatch(problem)
    }
  })

  it.each([
    ['softmax', 'softmax'],
    ['sigmoid', 'sigmoid'],
    ['tanh', 'tanh'],
    ['linear', 'none'],
    ['one of many', 'softmax'],
    ['yes or no', 'sigmoid'],
  ])('say what they end with: %s', async (name, activation) => {
    for (const form of ['.keras', '.h5', '.nested.keras']) {
      await using file = await openCheckpoint(join(folder, `${name}${form}`))
      const expected = form === '.nested.keras' && name.includes(' ') ? 'none' : activation // it is not compiled
      expect(file.metadata.get('residual.activation'), form).toBe(expected)
    }
  })
})
