// HDF5 as h5py and Keras themselves write it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Hdf5Library } from '../../../lib/weights/formats/hdf5/library.ts'
import { openKerasArchive, openKerasHdf5 } from '../../../lib/weights/formats/keras.ts'
import { openSafetensors } from '../../../lib/weights/safetensors.ts'
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
