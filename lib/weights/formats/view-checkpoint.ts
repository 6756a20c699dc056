// What is a checkpoint whose tensors are views of ranges of a file?

import type { Checkpoint, CheckpointTensor } from '../checkpoint.ts'
import { invalidCheckpoint } from '../checkpoint-error.ts'
import type { ByteSource } from '../checkpoint-file.ts'
import { allocateFloats, checkFinite } from '../float-tensor.ts'
import { tensorNotFound } from '../source.ts'
import { isStoredType } from '../stored-type.ts'
import { CheckedBytes } from './checked-bytes.ts'
import { readerOf } from './data-reader.ts'
import { isReadable, readView, ViewMemory } from './read-view.ts'
import type { StoredData, TensorView } from './view.ts'

/** Made by the functions that open the formats. */
export class ViewCheckpoint implements Checkpoint {
  readonly path: string
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: ReadonlyMap<string, CheckpointTensor>
  readonly #views: ReadonlyMap<string, TensorView<StoredData>>
  readonly #idle: ViewMemory[] = [] // as many as there were reads at once

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

  async #read(
    name: string,
    seen: (view: TensorView<StoredData>) => TensorView<StoredData>,
    into?: Float32Array,
  ): Promise<Float32Array> {
    const stored = this.#views.get(name)
    if (!stored) throw tensorNotFound(name, this.path)
    const view = seen(stored)
    const { dtype, data } = view
    if (!isStoredType(dtype))
      throw invalidCheckpoint(this.source, `'${name}' is ${dtype}, and weights are F32, F16, BF16 or F64`)
    if (!isReadable(view)) throw invalidCheckpoint(this.source, `'${name}' is a view that overlaps itself`)
    const result = allocateFloats(name, view.length, this.path, into)
    const checked = data instanceof CheckedBytes ? data.reading(this.source) : undefined
    const memory = this.#idle.pop() ?? new ViewMemory()
    await readView(view, dtype, checked?.read ?? readerOf(this.source, data), result, memory)
    this.#idle.push(memory)
    await checked?.finish()
    await this.source.checkUnchanged()
    return checkFinite(name, result, this.path)
  }

  close(): Promise<void> {
    return this.source.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
