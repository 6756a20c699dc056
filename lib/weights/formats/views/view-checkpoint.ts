// A checkpoint whose tensors are views of ranges of a file.

import type { Checkpoint, CheckpointTensor } from '../../checkpoint/checkpoint.ts'
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import type { StoredTensor } from '../../checkpoint/stored-tensor.ts'
import { tensorNotFound } from '../../source.ts'
import { allocateFloats, checkFinite } from '../../tensors/float-tensor.ts'
import { isFloatType, storedBytes } from '../../tensors/stored-type.ts'
import { CheckedBytes, pieceBytes } from './checked-bytes.ts'
import { readerOf } from './data-reader.ts'
import { isReadable, readView, ViewMemory } from './read-view.ts'
import type { StoredData } from './stored-data.ts'
import { FileBytes } from './stored-data.ts'
import type { TensorView } from './tensor-view.ts'

/** Created by the format readers. */
export class ViewCheckpoint implements Checkpoint {
  readonly path: string
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: ReadonlyMap<string, CheckpointTensor>
  readonly #views: ReadonlyMap<string, TensorView<StoredData>>
  readonly #idle: ViewMemory[] = [] // as many as there were concurrent reads

  constructor(
    private readonly source: ByteSource,
    readonly format: string,
    views: ReadonlyMap<string, TensorView<StoredData>>,
    metadata: ReadonlyMap<string, string>,
  ) {
    this.path = source.path
    this.metadata = metadata
    this.#views = views
    this.tensors = new Map(
      [...views].map(([name, { shape, dtype, length }]) => [name, { shape, dtype, length }]),
    )
  }

  read(name: string, into?: Float32Array): Promise<Float32Array> {
    return this.#read(name, view => view, into)
  }

  readTurned(name: string, axes: readonly number[], into?: Float32Array): Promise<Float32Array> {
    return this.#read(name, view => view.turned(axes), into)
  }

  stored(name: string): StoredTensor | undefined {
    const [{ descriptor }, view] = [this.source, this.#views.get(name)]
    if (descriptor === undefined || !view?.isDense) return undefined
    const { data, dtype, offset } = view
    if (!(data instanceof FileBytes) || !isFloatType(dtype)) return undefined
    const place = { descriptor, position: data.at + offset * storedBytes[dtype] }
    if (!(data instanceof CheckedBytes)) return { place, type: dtype }
    return { place, type: dtype, check: () => this.#check(data) }
  }

  checkUnchanged(): Promise<void> {
    return this.source.checkUnchanged()
  }

  async #read(
    name: string,
    seen: (view: TensorView<StoredData>) => TensorView<StoredData>,
    into?: Float32Array,
  ): Promise<Float32Array> {
    const stored = this.#views.get(name)
    if (!stored) throw tensorNotFound(name, this.path)
    const view = seen(stored)
    const { dtype, data } = view
    if (!isFloatType(dtype))
      throw invalidCheckpoint(this.source, `'${name}' is ${dtype}; weights must be F32, F16, BF16 or F64`)
    if (!isReadable(view)) throw invalidCheckpoint(this.source, `'${name}' is a view that overlaps itself`)
    const result = allocateFloats(name, view.length, this.path, into)
    const memory = this.#idle.pop() ?? new ViewMemory()
    const checked =
      data instanceof CheckedBytes ? data.reading(this.source, () => memory.bytes(pieceBytes)) : undefined
    await readView(view, dtype, checked?.read ?? readerOf(this.source, data), result, memory)
    await checked?.finish()
    this.#idle.push(memory)
    await this.source.checkUnchanged()
    return checkFinite(name, result, this.path)
  }

  async #check(data: CheckedBytes): Promise<void> {
    const memory = this.#idle.pop() ?? new ViewMemory()
    await data.check(this.source, () => memory.bytes(pieceBytes))
    this.#idle.push(memory)
  }

  close(): Promise<void> {
    return this.source.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
