// The groups and datasets of an HDF5 file, listed under limits: a hostile file may claim any number, nested without end.
import type { Metadata } from 'h5wasm'
import type { Dataset, Tree } from './dataset.ts'

/** The functions of h5wasm's module that are used. `file` is the library's handle. */
export interface Hdf5Module {
  readonly HEAPU8: Uint8Array
  _malloc(bytes: number): number
  _free(pointer: number): void
  open(path: string, mode: number, trackOrder: boolean, low: number, high: number): bigint
  close_file(file: bigint): number
  get_names(file: bigint, path: string, recursive: boolean): string[]
  get_type(file: bigint, path: string): number
  get_attribute_names(file: bigint, path: string): string[]
  get_attribute_metadata(file: bigint, path: string, name: string): Metadata
  get_dataset_metadata(file: bigint, path: string): Metadata
  get_dataset_data(
    file: bigint,
    path: string,
    count: bigint[] | null,
    offset: bigint[] | null,
    strides: bigint[] | null,
    target: bigint,
  ): number
}

/** A file that exceeds these does not hold weights. */
const most = { objects: 20_000, depth: 16, pathLength: 2_000, dimensions: 8, attributeBytes: 1 << 16 }

// The values of H5G_obj_t and H5T_class_t: https://support.hdfgroup.org/documentation/hdf5/latest/
const groupType = 0
const datasetType = 1
export const typeClass = { integer: 0, float: 1, string: 3, opaque: 5 } as const

export const pathOf = (names: readonly string[]) => `/${names.join('/')}`

/**
 * Walks the tree from the root. Links to other files lead nowhere. Calls `done` after each object. Throws what the library
 * throws.
 */
export function readTree(
  module: Hdf5Module,
  file: bigint,
  wanted: readonly string[],
  readString: (path: string, attribute: string) => unknown,
  locate: (dataset: Omit<Dataset, 'at'>, metadata: Metadata) => number | undefined,
  done: () => void,
): Tree {
  const datasets: Dataset[] = []
  const attributes = new Map<string, ReadonlyMap<string, string>>()
  let objects = 0

  const strings = (path: string): Map<string, string> => {
    const found = new Map<string, string>()
    if (wanted.length === 0) return found
    const names = module.get_attribute_names(file, path)
    for (const name of wanted.filter(each => names.includes(each))) {
      const { type, total_size: count, size } = module.get_attribute_metadata(file, path, name)
      if (type !== typeClass.string || count !== 1 || size > most.attributeBytes) continue
      const value = readString(path, name)
      if (typeof value === 'string') found.set(name, value)
    }
    return found
  }

  const visit = (names: readonly string[]) => {
    const path = pathOf(names)
    if (names.length > most.depth)
      throw new Error(`its groups are nested more than ${most.depth} levels deep`)
    if (path.length > most.pathLength)
      throw new Error(`a name in it has more than ${most.pathLength} characters`)
    const found = strings(path)
    if (found.size > 0) attributes.set(names.join('/'), found)
    for (const child of module.get_names(file, path, false)) {
      if (++objects > most.objects) throw new Error(`it has more than ${most.objects} objects`)
      const childNames = [...names, child]
      const childPath = pathOf(childNames)
      const type = module.get_type(file, childPath)
      if (type === groupType) visit(childNames)
      else if (type === datasetType) {
        const metadata = module.get_dataset_metadata(file, childPath)
        const dataset = describe(metadata, childNames)
        datasets.push({ ...dataset, at: locate(dataset, metadata) })
      }
      done()
    }
  }
  visit([])
  return { datasets, attributes }
}

function describe(
  { shape, type, size, signed, virtual_sources: virtual }: Metadata,
  path: readonly string[],
): Omit<Dataset, 'at'> {
  const name = path.join('/')
  if (shape === null) return { path, shape: [0], dtype: 'HDF5 null' }
  if (virtual) throw new Error(`'${name}' is a virtual dataset, assembled from other files`)
  if (shape.length > most.dimensions) throw new Error(`'${name}' has ${shape.length} dimensions`)
  let length = 1
  for (const count of shape) {
    length *= count
    if (!Number.isSafeInteger(length * 8)) throw new Error(`'${name}' has too many elements`)
  }
  return { path, shape, dtype: dtypeOf(type, size, signed) }
}

/** Keras stores each bfloat16 as two opaque bytes. */
function dtypeOf(type: number, size: number, signed: boolean): string {
  if (type === typeClass.float && [2, 4, 8].includes(size)) return `F${size * 8}`
  if (type === typeClass.integer && [1, 2, 4, 8].includes(size)) return `${signed ? 'I' : 'U'}${size * 8}`
  if (type === typeClass.opaque && size === 2) return 'BF16'
  return `HDF5 class ${type}`
}
