// Locating a dataset's numbers in its file. The library does not say where they are, so it is watched reading the first and the
// last.
import type { Metadata } from 'h5wasm'
import { product } from '../../../model/product.ts'
import { isFloatType, storedBytes } from '../../tensors/stored-type.ts'
import { readPart } from './data.ts'
import type { Dataset } from './dataset.ts'
import type { FileDevice } from './file-device.ts'
import { type Hdf5Module, typeClass } from './tree.ts'

/** Undefined if they are not stored contiguously, or if that cannot be determined. */
export function locate(
  module: Hdf5Module,
  file: bigint,
  device: FileDevice,
  { path, shape, dtype }: Omit<Dataset, 'at'>,
  { chunks, littleEndian, type }: Metadata,
): number | undefined {
  if (!isFloatType(dtype) || chunks !== null || !(littleEndian || type === typeClass.opaque)) return undefined
  const size = storedBytes[dtype]
  const bytes = product(shape) * size
  if (bytes === 0) return device.offset
  const pointer = module._malloc(size)
  if (pointer === 0) return undefined
  try {
    const count = shape.map(() => 1)
    const asked = (offset: readonly number[]) =>
      device.askedBy(() => readPart(module, file, path, { offset, count }, pointer))
    // From the first number on the library reads ahead, at most to the end of the dataset; its metadata is already in memory.
    const [first, last] = [asked(shape.map(() => 0)), asked(shape.map(count => count - 1))]
    if (!first || last?.length !== size || last.position - first.position !== bytes - size) return undefined
    return device.offset + first.position
  } finally {
    module._free(pointer)
  }
}
