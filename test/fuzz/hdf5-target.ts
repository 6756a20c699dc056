// What does the reader of Keras' HDF5 files make of damaged ones? One thread reads many; it is ended by those that bring it down.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Hdf5Library } from '../../lib/weights/formats/hdf5/library.ts'
import { openKerasHdf5 } from '../../lib/weights/formats/keras.ts'
import { someFloats, writeHdf5 } from '../support/hdf5.ts'

const path = join(tmpdir(), `residual-fuzz-${process.pid}.h5`)
const filesPerThread = 500 // damaged files leave things behind in the library

let library: Hdf5Library | undefined
let files = 0

/** A target of the fuzzer. Call {@link endHdf5} after it. */
export const hdf5Target = {
  name: 'HDF5',
  seeds: async () => {
    const shapes = { kernel: [1, 1, 3, 4], bias: [4] }
    const layers = (place: (name: string, i: number) => string, chunks?: number[]) =>
      Object.entries(shapes).map(([name, shape], i) => {
        const compressed = i === 0 && chunks ? { chunks } : {}
        return { path: place(name, i), shape, data: someFloats(shape, i), ...compressed }
      })
    const seeds: Buffer[] = []
    const add = async (...file: [Parameters<typeof writeHdf5>[1], Parameters<typeof writeHdf5>[2]?]) => {
      await writeHdf5(path, ...file)
      seeds.push(readFileSync(path))
    }
    await add(layers(name => `a/a/${name}:0`))
    await add(
      layers((_, i) => `layers/conv2d/vars/${i}`, [1, 1, 3, 2]),
      { 'layers/conv2d/vars': { name: 'a' } },
    )
    return seeds
  },
  open: async (bytes: Buffer) => {
    writeFileSync(path, bytes)
    try {
      if (library && (library.lost || files % filesPerThread === 0)) await endHdf5()
      library ??= await Hdf5Library.start()
      files++
      await using checkpoint = await openKerasHdf5(path, { library })
      for (const name of checkpoint.tensors.keys()) await checkpoint.read(name)
    } finally {
      rmSync(path)
    }
  },
}

export async function endHdf5(): Promise<void> {
  await library?.end()
  library = undefined
}
