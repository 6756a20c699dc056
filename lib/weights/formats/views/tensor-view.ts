// Views of a storage: offset, shape and strides, and a check that they are valid.

import { product } from '../../../model/product.ts'
import { elementBytes } from '../safetensors/header.ts'
import type { Data } from './stored-data.ts'

/** A tensor as a view of numbers: element `[i, j]` is number `offset + i * strides[0] + j * strides[1]`. */
export class TensorView<D extends Data = Data> {
  constructor(
    readonly data: D,
    readonly dtype: string,
    /** Whether the bytes of each number are in the other byte order than this machine's. */
    readonly swapped: boolean,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
    readonly offset: number,
  ) {}

  /** The same view, of located data. */
  in<E extends Data>(data: E, swapped = this.swapped, dtype = this.dtype): TensorView<E> {
    return new TensorView(data, dtype, swapped, this.shape, this.strides, this.offset)
  }

  /** The same numbers with the dimensions in the order of `axes`. */
  turned(axes: readonly number[]): TensorView<D> {
    const [shape, strides] = [this.shape, this.strides].map(list => axes.map(axis => list[axis]!))
    return new TensorView(this.data, this.dtype, this.swapped, shape!, strides!, this.offset)
  }

  /** The number of elements. */
  get length(): number {
    return product(this.shape)
  }

  /** Whether the numbers are contiguous, row-major, in this machine's byte order. */
  get isDense(): boolean {
    const dense = denseStrides(this.shape)
    return !this.swapped && this.shape.every((size, i) => size === 1 || this.strides[i] === dense[i])
  }

  get elementBytes(): number {
    return elementBytes[this.dtype]!
  }

  /** The index after the tensor's last number in `data`. */
  get end(): number {
    if (this.length === 0) return this.offset
    return this.shape.reduce((last, size, i) => last + (size - 1) * this.strides[i]!, this.offset) + 1
  }
}

export const maxDimensions = 64 // PyTorch's and numpy's own limit

// With strides of 0, a view may have more elements than its storage. Beyond this limit a file of a few bytes would take gigabytes.
const maxRepeated = 1 << 20

/**
 * Why the view does not fit a storage of `numbers` numbers, or undefined. If undefined, it lies within them and every product is
 * exact.
 */
export function problemOf(view: TensorView, numbers: number): string | undefined {
  const { shape, strides, offset } = view
  if (shape.length > maxDimensions) return `has ${shape.length} dimensions, more than ${maxDimensions}`
  if (strides.length !== shape.length) return `has ${shape.length} sizes and ${strides.length} strides`
  if (![offset, ...shape, ...strides].every(n => Number.isSafeInteger(n) && n >= 0))
    return 'has a size, stride or offset that is not a count'
  let length = 1
  for (const size of shape) {
    length *= size
    if (length * 8 > Number.MAX_SAFE_INTEGER) return 'has too many elements'
  }
  if (length > 0 && !(view.end <= numbers)) return `ends at element ${view.end} of a storage of ${numbers}`
  if (length > Math.max(numbers, maxRepeated))
    return `repeats the ${numbers} elements of its storage to make ${length}`
  return undefined
}

/** The strides of a row-major tensor, or of a column-major one. */
export function denseStrides(shape: readonly number[], columnMajor = false): number[] {
  const strides: number[] = []
  let step = 1
  for (const size of columnMajor ? shape : shape.toReversed()) {
    strides.push(step)
    step *= size
  }
  return columnMajor ? strides : strides.reverse()
}
