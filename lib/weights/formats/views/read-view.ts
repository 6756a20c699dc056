// Reading a view of a storage as a float32 tensor: the storage is walked forwards, a megabyte at a time.
import { product } from '../../../model/product.ts'
import { Staging } from '../../staging.ts'
import { type FloatType, storedBytes, toFloat32 } from '../../tensors/stored-type.ts'
import type { DataReader } from './data-reader.ts'
import type { TensorView } from './tensor-view.ts'

const chunkBytes = 1 << 20 // of the storage in memory at a time
const maxWholeBytes = 64 << 20 // of a storage that a view reads out of order, which is then held in memory completely

/** Buffers reused for one view after another: with new ones each time the garbage collector retains tens of MB. */
export class ViewMemory {
  readonly #staging = new Staging(chunkBytes)

  /** The contents are left over from before, or zeros. */
  bytes(count: number): Uint8Array {
    return this.#staging.take(count, 'a view')
  }

  /** Room for `count` stored numbers and their float32 values; for F32 both are the same memory. */
  take(count: number, type: FloatType): { readonly stored: Buffer; readonly numbers: Float32Array } {
    const bytes = count * storedBytes[type]
    const at = type === 'F32' ? 0 : Math.ceil(bytes / 4) * 4
    const { buffer, byteOffset } = this.bytes(Math.max(bytes, at + count * 4))
    return {
      stored: Buffer.from(buffer, byteOffset, bytes),
      numbers: new Float32Array(buffer, byteOffset + at, count),
    }
  }
}

/** A dimension with its strides in the storage and in the row-major result. */
interface Dimension {
  readonly size: number
  readonly stride: number
  readonly step: number
}

/** Whether {@link readView} can read it: views that overlap themselves must be small. */
export function isReadable(view: TensorView): boolean {
  return isForward(dimensionsOf(view)) || (view.end - view.offset) * view.elementBytes <= maxWholeBytes
}

/** Fills `result`, which has the view's length, in row-major order. `memory` holds the current part of the storage. */
export async function readView(
  view: TensorView,
  type: FloatType,
  read: DataReader,
  result: Float32Array,
  memory: ViewMemory,
): Promise<void> {
  if (result.length === 0) return
  const bytes = storedBytes[type]
  const dimensions = dimensionsOf(view)
  const inner = dimensions.at(-1) ?? { size: 1, stride: 1, step: 1 }
  if (type === 'F32' && !view.swapped && dimensions.length < 2 && inner.stride === 1)
    return read(new Uint8Array(result.buffer, result.byteOffset, result.byteLength), view.offset * bytes)

  const forward = isForward(dimensions)
  const extent = view.end - view.offset
  const most = forward ? Math.min(chunkBytes / bytes, extent) : extent
  const { stored, numbers } = forward ? memory.take(most, type) : new ViewMemory().take(most, type)
  let window = numbers.subarray(0, 0)
  let windowAt = view.offset
  const load = async (at: number) => {
    window = numbers.subarray(0, view.end - at)
    const source = stored.subarray(0, window.length * bytes)
    await read(source, at * bytes)
    if (view.swapped) swap(source, bytes)
    if (type !== 'F32') toFloat32(type, source, window)
    windowAt = at
  }
  for (const { from, to } of places(dimensions.slice(0, -1), view.offset)) {
    for (let i = 0; i < inner.size; ) {
      const first = from + i * inner.stride
      if (first < windowAt || first >= windowAt + window.length) await load(forward ? first : view.offset)
      const inWindow =
        inner.stride === 0 ? inner.size : Math.ceil((windowAt + window.length - first) / inner.stride)
      const end = Math.min(inner.size, i + inWindow)
      for (; i < end; i++) result[to + i * inner.step] = window[from + i * inner.stride - windowAt]!
    }
  }
}

/** Outermost first in the storage's order; dimensions contiguous in both are merged. */
function dimensionsOf({ shape, strides }: TensorView): Dimension[] {
  const steps = shape.map((_, i) => product(shape.slice(i + 1)))
  const sorted = shape
    .map((size, i) => ({ size, stride: strides[i]!, step: steps[i]! }))
    .filter(({ size }) => size > 1)
    .sort((a, b) => b.stride - a.stride || b.step - a.step)
  const merged: Dimension[] = []
  for (const dimension of sorted) {
    const { size, stride, step } = dimension
    const outer = merged.at(-1)
    if (outer && outer.stride === stride * size && outer.step === step * size)
      merged[merged.length - 1] = { size: outer.size * size, stride, step }
    else merged.push(dimension)
  }
  return merged
}

/** Whether walking the dimensions in order never goes back in the storage. */
function isForward(dimensions: readonly Dimension[]): boolean {
  let extent = 0
  for (const { size, stride } of dimensions.toReversed()) {
    if (stride < extent) return false
    extent += (size - 1) * stride
  }
  return true
}

/** The offset of each row of the innermost dimension, in the storage and in the result. */
function* places(outer: readonly Dimension[], offset: number): Generator<{ from: number; to: number }> {
  const index = outer.map(() => 0)
  const place = { from: offset, to: 0 }
  for (;;) {
    yield place
    let d = outer.length - 1
    for (; d >= 0; d--) {
      const { size, stride, step } = outer[d]!
      place.from += stride
      place.to += step
      if (++index[d]! < size) break
      place.from -= size * stride
      place.to -= size * step
      index[d] = 0
    }
    if (d < 0) return
  }
}

function swap(bytes: Buffer, size: number): void {
  if (size === 2) bytes.swap16()
  else if (size === 4) bytes.swap32()
  else if (size === 8) bytes.swap64()
}
