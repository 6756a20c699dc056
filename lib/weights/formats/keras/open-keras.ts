// Opening what Keras saves: HDF5, as tensors named `{layer}/{variable}` whichever layout the file has.

import { closingOnError } from '../../../files/closing-on-error.ts'
import { product } from '../../../model/product.ts'
import {
  activationKey,
  architectureKey,
  type Checkpoint,
  type CheckpointTensor,
  preprocessingKey,
  problemKey,
} from '../../checkpoint/checkpoint.ts'
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import { type CheckpointFile, openCheckpointFile } from '../../checkpoint/checkpoint-file.ts'
import { tensorNotFound } from '../../source.ts'
import { checkFinite } from '../../tensors/float-tensor.ts'
import { isFloatType, storedBytes } from '../../tensors/stored-type.ts'
import type { Dataset } from '../hdf5/dataset.ts'
import type { Hdf5Library } from '../hdf5/library.ts'
import { type Hdf5File, hdf5Signature, openHdf5 } from '../hdf5/open-hdf5.ts'
import { FileBytes } from '../views/stored-data.ts'
import { denseStrides, TensorView } from '../views/tensor-view.ts'
import { ViewCheckpoint } from '../views/view-checkpoint.ts'
import { readZip, type Zip } from '../zip.ts'
import { readKerasArchive } from './archive.ts'
import { activationOf, field, layersOf, parseJson } from './config.ts'
import { kerasFacts } from './graph.ts'
import { kerasTensors } from './names.ts'

const hdf5Format = 'Keras HDF5'
const archiveFormat = 'Keras archive'
const configuration = ['model_config', 'training_config'] as const
const attributes = ['name', 'keras_version', 'backend', ...configuration]

/** Whether a file that begins with `bytes` is HDF5. */
export function isHdf5(bytes: Uint8Array): boolean {
  return bytes.length >= hdf5Signature.length && hdf5Signature.every((byte, i) => bytes[i] === byte)
}

/** A library for many files in a row, all read by one thread. At most one of them is open at a time. */
export interface KerasOptions {
  readonly library?: Hdf5Library
}

/**
 * Opens a `.h5` file of weights or of a whole model, or a `.weights.h5` file. Close it after use.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID, OUT_OF_MEMORY
 */
export async function openKerasHdf5(path: string, { library }: KerasOptions = {}): Promise<Checkpoint> {
  const file = await openHdf5(await openCheckpointFile(path, hdf5Format), { attributes, library })
  const root = file.tree.attributes.get('')
  const [model, training] = configuration.map(name => parseJson(root?.get(name) ?? ''))
  return await checkpointOf(file, { model, training })
}

/**
 * Opens a `.keras` file. Compressed weights are unpacked to the system's temporary folder while they are opened.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID, OUT_OF_MEMORY, FILE_WRITE_FAILED
 */
export async function openKerasArchive(path: string, options: KerasOptions = {}): Promise<Checkpoint> {
  const file = await openCheckpointFile(path, archiveFormat)
  return await openKerasZip(file, await closingOnError(file, readZip), options)
}

/** Like {@link openKerasArchive}, from an open file, which is closed if it is not such a file. */
export async function openKerasZip(
  opened: CheckpointFile,
  zip: Zip,
  { library }: KerasOptions = {},
): Promise<Checkpoint> {
  const archive = opened.as(archiveFormat)
  const { config, metadata, weights } = await closingOnError(archive, () => readKerasArchive(zip))
  let file: Hdf5File
  if ('path' in weights) {
    await archive.close()
    try {
      const copy = await openCheckpointFile(weights.path, archiveFormat)
      file = await openHdf5(copy.as(archiveFormat, archive.path), { attributes, library })
    } finally {
      await weights.discard() // the open file stays readable
    }
  } else file = await openHdf5(archive, { attributes, library, part: weights })
  const model = parseJson(config)
  const said = stringsOf(parseJson(metadata))
  return await checkpointOf(file, { model, training: field(model, 'compile_config'), said })
}

/** The rest of a file besides its weights. */
interface Around {
  readonly model: unknown
  readonly training: unknown
  readonly said?: readonly (readonly [string, string])[]
}

async function checkpointOf(file: Hdf5File, { model, training, said = [] }: Around): Promise<Checkpoint> {
  try {
    const root = file.tree.attributes.get('') ?? file.tree.attributes.get('model_weights') ?? new Map()
    const datasets = kerasTensors(file.tree, layersOf(model))
    const shown = [...root].filter(([name]) => !configuration.includes(name as never))
    const metadata = new Map([...shown, ...said])
    const activation = activationOf(model, training)
    if (activation !== undefined) metadata.set(activationKey, activation)
    if (model !== undefined) {
      const { architecture, input, problem } = kerasFacts(model)
      if (Object.keys(architecture).length > 0) metadata.set(architectureKey, JSON.stringify(architecture))
      if (input) metadata.set(preprocessingKey, JSON.stringify(input))
      if (problem !== undefined) metadata.set(problemKey, problem)
    }
    const views = viewsOf(datasets)
    if (views) return new ViewCheckpoint(await file.release(), file.format, views, metadata)
    return new KerasCheckpoint(file, datasets, metadata)
  } catch (error) {
    await file.close()
    throw invalidCheckpoint(file, (error as Error).message, error)
  }
}

/** Views of all datasets, if all can be read without the library. */
function viewsOf(datasets: ReadonlyMap<string, Dataset>): Map<string, TensorView<FileBytes>> | undefined {
  const views = new Map<string, TensorView<FileBytes>>()
  for (const [name, { shape, dtype, at }] of datasets) {
    const bytes = isFloatType(dtype) ? product(shape) * storedBytes[dtype] : 0
    if (at === undefined && isFloatType(dtype)) return undefined // others are refused when they are read
    const data = new FileBytes(at ?? 0, bytes)
    views.set(name, new TensorView(data, dtype, /*swapped=*/ false, shape, denseStrides(shape), 0))
  }
  return views
}

/** An open file with datasets that only the library can read. */
class KerasCheckpoint implements Checkpoint {
  readonly path: string
  readonly format: string
  readonly tensors: ReadonlyMap<string, CheckpointTensor>

  constructor(
    private readonly file: Hdf5File,
    private readonly datasets: ReadonlyMap<string, Dataset>,
    readonly metadata: ReadonlyMap<string, string>,
  ) {
    this.path = file.path
    this.format = file.format
    this.tensors = new Map(
      [...datasets].map(([name, { shape, dtype }]) => {
        const length = product(shape)
        return [name, { shape, dtype, length }]
      }),
    )
  }

  async read(name: string, into?: Float32Array): Promise<Float32Array> {
    const dataset = this.datasets.get(name)
    if (!dataset) throw tensorNotFound(name, this.path)
    return checkFinite(name, await this.file.read(dataset, into), this.path)
  }

  close(): Promise<void> {
    return this.file.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** The string members of an object. */
function stringsOf(value: unknown): [string, string][] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
}
