// Opening HDF5 files: datasets are read one at a time by the library's thread, whose messages become results and errors.
import { ResidualError } from '../../../errors.ts'
import { closingOnError } from '../../../files/closing-on-error.ts'
import { product } from '../../../model/product.ts'
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { CheckpointFile } from '../../checkpoint/checkpoint-file.ts'
import { unreadable } from '../../checkpoint/read-fully.ts'
import { allocateFloats } from '../../tensors/float-tensor.ts'
import { isFloatType } from '../../tensors/stored-type.ts'
import { mostNumbers, partsOf } from './data.ts'
import type { Dataset, Tree } from './dataset.ts'
import { Hdf5Library, LibraryLost } from './library.ts'
import type { OpenRequest, Reply, Request } from './messages.ts'

/** The signature at the start of every HDF5 file. */
export const hdf5Signature = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a] as const

export interface Hdf5Options extends Pick<OpenRequest, 'attributes'> {
  /** Where in the file the HDF5 file is; all of it if absent. */
  readonly part?: { readonly at: number; readonly length: number }
  /** A library to reuse for one file after another. Without it a thread is started, and ended when the file is closed. */
  readonly library?: Hdf5Library | undefined
}

/**
 * Reads the tree of `file`. The result takes over the file and closes it; it is also closed if this fails.
 *
 * @throws ResidualError FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID, OUT_OF_MEMORY
 */
export async function openHdf5(file: CheckpointFile, options: Hdf5Options): Promise<Hdf5File> {
  return closingOnError(file, async () => {
    const { attributes, part } = options
    const library = options.library ?? (await Hdf5Library.start())
    const [offset, size] = [part?.at ?? 0, part?.length ?? file.size]
    try {
      if (offset + size > file.size) throw invalidCheckpoint(file, 'its HDF5 part is truncated')
      const request = { kind: 'open', descriptor: file.descriptor, offset, size, attributes } as const
      const reply = await ask(library, request, file)
      return new Hdf5File(file, (reply as { tree: Tree }).tree, library, options.library === undefined)
    } catch (error) {
      await letGo(library, options.library === undefined)
      throw error
    }
  })
}

/** An open file. Made by {@link openHdf5}. */
export class Hdf5File {
  readonly path: string
  readonly format: string
  #closed = false

  constructor(
    private readonly file: CheckpointFile,
    readonly tree: Tree,
    private readonly library: Hdf5Library,
    private readonly endsLibrary: boolean,
  ) {
    this.path = file.path
    this.format = file.format
  }

  /**
   * One dataset as float32, row-major; the caller owns it, or it is `into`.
   *
   * @throws ResidualError FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID, OUT_OF_MEMORY
   */
  async read(dataset: Dataset, into?: Float32Array): Promise<Float32Array> {
    if (this.#closed) throw unreadable(this.path, new Error('it is closed'))
    const { path, shape, dtype } = dataset
    const name = path.join('/')
    if (!isFloatType(dtype))
      throw invalidCheckpoint(this, `'${name}' is ${dtype}; weights must be F32, F16, BF16 or F64`)
    const result = allocateFloats(name, product(shape), this.path, into)
    let done = 0
    for (const part of partsOf(shape, mostNumbers(dtype))) {
      const values = result.subarray(done, done + part.length)
      await ask(this.library, { kind: 'read', dataset, part }, this.file, values).catch(error => {
        throw this.#closed ? unreadable(this.path, new Error('it was closed')) : error
      })
      done += part.length
    }
    return result
  }

  /** Hands the file to the caller, who reads contiguous datasets without the library's 70 MB, and closes it. */
  async release(): Promise<CheckpointFile> {
    this.#closed = true
    await letGo(this.library, this.endsLibrary)
    return this.file
  }

  async close(): Promise<void> {
    if (this.#closed) return
    await this.release()
    await this.file.close()
  }
}

/** Must happen before the file is closed: the system gives its descriptor to the next file opened. */
async function letGo(library: Hdf5Library, ends: boolean): Promise<void> {
  if (!ends && !library.lost) await library.request({ kind: 'close' }).catch(() => {})
  if (ends || library.lost) await library.end()
}

/** A change of the file takes precedence over the library's error. */
async function ask(
  library: Hdf5Library,
  request: Request,
  file: CheckpointFile,
  values?: Float32Array,
): Promise<Exclude<Reply, { failure: unknown }>> {
  let reply: Reply
  try {
    reply = await library.request(request, values)
  } catch (cause) {
    if (!(cause instanceof LibraryLost)) throw cause
    throw invalidCheckpoint(file, cause.message, cause)
  }
  await file.checkUnchanged()
  if (!('failure' in reply)) return reply
  const { reason, message } = reply.failure
  if (reason === 'unreadable') throw unreadable(file.path, new Error(message))
  if (reason === 'memory')
    throw new ResidualError('OUT_OF_MEMORY', `${file.path} needs more memory than is available: ${message}.`)
  throw invalidCheckpoint(file, message)
}
