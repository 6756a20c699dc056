// Writes HDF5 files with the library that reads them; Python's h5py writes others where it is installed.
import { writeFileSync } from 'node:fs'
import h5wasm, { type Group } from 'h5wasm'
import { seeded } from './files.ts'

export interface Written {
  readonly path: string
  readonly shape: readonly number[]
  readonly data: Float32Array | Float64Array | Int32Array
  /** Compressed in chunks of this shape. */
  readonly chunks?: number[]
}

let files = 0

/** Writes datasets at their paths, groups as they are needed, and string attributes of groups. */
export async function writeHdf5(
  path: string,
  datasets: readonly Written[],
  attributes: { readonly [group: string]: { readonly [name: string]: string } } = {},
  more?: (root: Group) => void,
): Promise<void> {
  const { FS } = await h5wasm.ready
  const inside = `/written-${files++}.h5`
  const root = new h5wasm.File(inside, 'w')
  const groupAt = (names: readonly string[]) => {
    let group: Group = root
    for (const name of names)
      group = (group.keys().includes(name) ? group.get(name) : group.create_group(name)) as Group
    return group
  }
  for (const { path, shape, data, chunks } of datasets) {
    const names = path.split('/')
    const compressed = chunks && { chunks, compression: 'gzip' as const, compression_opts: 6 }
    groupAt(names.slice(0, -1)).create_dataset({
      name: names.at(-1)!,
      data,
      shape: [...shape],
      ...compressed,
    })
  }
  for (const [group, values] of Object.entries(attributes))
    for (const [name, value] of Object.entries(values))
      groupAt(group === '' ? [] : group.split('/')).create_attribute(name, value)
  more?.(root)
  root.close()
  writeFileSync(path, (FS as unknown as { readFile(path: string): Uint8Array }).readFile(inside))
  ;(FS as unknown as { unlink(path: string): void }).unlink(inside)
}

/** `shape` of numbers that depend on the seed. */
export function someFloats(shape: readonly number[], seed: number): Float32Array {
  const random = seeded(seed)
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random() - 0.5)
}
