// Reading a dataset as float32 in parts of one dimension, so that the library never holds all of it.

import { product } from '../../../model/product.ts'
import { type FloatType, isFloatType, storedBytes, toFloat32 } from '../../tensors/stored-type.ts'
import type { Dataset, DatasetPart } from './dataset.ts'
import { type Hdf5Module, pathOf } from './tree.ts'

/** Bytes of a dataset in memory at a time, both as stored and as float32. */
export const partBytes = 4 << 20

/** The most numbers in a part of a dataset. */
export function mostNumbers(type: FloatType): number {
  return partBytes / Math.max(storedBytes[type], Float32Array.BYTES_PER_ELEMENT)
}

/** Splits an array of `shape` into contiguous parts of at most `most` elements, in order. */
export function* partsOf(shape: readonly number[], most: number): Generator<DatasetPart> {
  let axis = 0
  let inner = product(shape.slice(1))
  if (inner === 0 || shape.includes(0)) return
  while (inner > most) inner /= shape[++axis]!
  const step = Math.min(Math.max(1, Math.floor(most / inner)), shape[axis] ?? 1)
  const offset = shape.map(() => 0)
  while (true) {
    const size = Math.min(step, (shape[axis] ?? 1) - (offset[axis] ?? 0))
    const count = shape.map((whole, i) => (i < axis ? 1 : i === axis ? size : whole))
    yield { offset: [...offset], count, length: size * inner }
    if (shape.length === 0) return
    offset[axis]! += size
    for (let i = axis; offset[i]! >= shape[i]!; i--) {
      if (i === 0) return
      offset[i] = 0
      offset[i - 1]! += 1
    }
  }
}

/** Reads the hyperslab at `offset` of size `count` to the library's memory at `pointer`; returns whether that succeeded. */
export function readPart(
  module: Hdf5Module,
  file: bigint,
  path: Dataset['path'],
  { offset, count }: Pick<DatasetPart, 'offset' | 'count'>,
  pointer: number,
): boolean {
  // A scalar has no hyperslabs.
  const chosen = (values: readonly number[]) => (values.length === 0 ? null : values.map(BigInt))
  const [counts, offsets, strides] = [chosen(count), chosen(offset), chosen(count.map(() => 1))]
  return module.get_dataset_data(file, pathOf(path), counts, offsets, strides, BigInt(pointer)) >= 0
}

/** Reads a part of a dataset as float32 into `memory`, of {@link partBytes}. Throws what the library throws. */
export function readFloats(
  module: Hdf5Module,
  file: bigint,
  { path, dtype }: Dataset,
  part: DatasetPart,
  memory: ArrayBuffer,
): void {
  const name = path.join('/')
  if (!isFloatType(dtype)) throw new Error(`'${name}' is ${dtype}; weights must be F32, F16, BF16 or F64`)
  const bytes = part.length * storedBytes[dtype]
  const pointer = module._malloc(bytes)
  if (pointer === 0) throw new Error('the HDF5 library is out of memory')
  try {
    if (!readPart(module, file, path, part, pointer)) throw new Error(`'${name}' cannot be read`)
    toFloat32(
      dtype,
      module.HEAPU8.subarray(pointer, pointer + bytes),
      new Float32Array(memory, 0, part.length),
    )
  } finally {
    module._free(pointer)
  }
}
