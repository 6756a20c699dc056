// Fuzzes the readers of Keras files. One thread reads many files; it is replaced after 500, or when one of them kills it.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import type { Checkpoint } from '../../lib/weights/checkpoint/checkpoint.ts'
import { Hdf5Library } from '../../lib/weights/formats/hdf5/library.ts'
import { openKerasArchive, openKerasHdf5 } from '../../lib/weights/formats/keras/open-keras.ts'
import { someFloats, writeHdf5 } from '../support/hdf5.ts'
import { zip } from '../support/raw-zip.ts'
import { withoutChecksums } from '../support/zip.ts'
import type { FuzzTarget } from './harness.ts'

const path = join(tmpdir(), `residual-fuzz-${process.pid}.h5`)
const filesPerThread = 500 // damaged files leave things behind in the library

let library: Hdf5Library | undefined
let files = 0

type Open = (path: string, options: { readonly library: Hdf5Library }) => Promise<Checkpoint>

/** Call {@link endHdf5} after it. */
function reading(name: string, open: Open, seeds: FuzzTarget['seeds']): FuzzTarget {
  return {
    name,
    seeds,
    open: async bytes => {
      writeFileSync(path, bytes)
      try {
        if (library && (library.lost || files % filesPerThread === 0)) await endHdf5()
        library ??= await Hdf5Library.start()
        files++
        await using checkpoint = await open(path, { library })
        for (const name of checkpoint.tensors.keys()) await checkpoint.read(name)
      } finally {
        rmSync(path)
      }
    },
  }
}

async function written(...file: [Parameters<typeof writeHdf5>[1], Parameters<typeof writeHdf5>[2]?]) {
  await writeHdf5(path, ...file)
  try {
    return readFileSync(path)
  } finally {
    rmSync(path)
  }
}

async function hdf5Files(): Promise<Buffer[]> {
  const shapes = { kernel: [1, 1, 3, 4], bias: [4] }
  const layers = (place: (name: string, i: number) => string, chunks?: number[]) =>
    Object.entries(shapes).map(([name, shape], i) => {
      const compressed = i === 0 && chunks ? { chunks } : {}
      return { path: place(name, i), shape, data: someFloats(shape, i), ...compressed }
    })
  return [
    await written(layers(name => `a/a/${name}:0`)),
    await written(
      layers((_, i) => `layers/conv2d/vars/${i}`, [1, 1, 3, 2]),
      { 'layers/conv2d/vars': { name: 'a' } },
    ),
  ]
}

async function kerasFiles(): Promise<Buffer[]> {
  const config = { config: { layers: [{ class_name: 'Conv2D', config: { name: 'a' } }] } }
  const kernel = { shape: [1, 1, 3, 4], data: someFloats([1, 1, 3, 4], 0) }
  const bytes = await written([{ path: 'layers/conv2d/vars/0', ...kernel }])
  const texts = {
    'metadata.json': { bytes: Buffer.from('{"keras_version":"3.0.0"}') },
    'config.json': { bytes: Buffer.from(JSON.stringify(config)) },
  }
  const stored = zip({ ...texts, 'model.weights.h5': { bytes } })
  const packed = zip({ ...texts, 'model.weights.h5': { bytes, deflated: deflateRawSync(bytes) } })
  return [stored, packed, withoutChecksums(stored), withoutChecksums(packed)]
}

export const hdf5Target = reading('HDF5', openKerasHdf5, hdf5Files)
export const kerasTarget = reading('Keras archive', openKerasArchive, kerasFiles)

export async function endHdf5(): Promise<void> {
  await library?.end()
  library = undefined
}
