// How is an HDF5 file read, one dataset at a time? By a thread that has the library; what it says becomes results and errors.
import { ResidualError } from '../../../errors.ts'
import { invalidCheckpoint } from '../../checkpoint-error.ts'
import { unreadable } from '../../read-fully.ts'
import { Hdf5Library, LibraryLost } from './library.ts'
import type { Dataset, OpenRequest, Reply, Request, Tree } from './messages.ts'

/** What every HDF5 file begins with. */
export const hdf5Signature = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a] as const

export interface Hdf5Options extends Pick<OpenRequest, 'part' | 'attributes'> {
  /** For messages. */
  readonly format: string
  /** Where the bytes are, if not in the file that messages are about. */
  readonly bytesIn?: string | undefined
  /** One that is used for one file after another. Without it a thread is started, and ended when the file is closed. */
  readonly library?: Hdf5Library | undefined
}

/**
 * Opens the file, or a part of it, and reads its tree.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID, OUT_OF_MEMORY
 */
export async function openHdf5(path: string, options: Hdf5Options): Promise<Hdf5File> {
  const { format, part, attributes } = options
  const library = options.library ?? (await Hdf5Library.start())
  const ends = options.library === undefined
  try {
    const open = { kind: 'open', path: options.bytesIn ?? path, attributes, ...(part && { part }) } as const
    const reply = await ask(library, open, { path, format })
    return new Hdf5File(path, format, (reply as { tree: Tree }).tree, library, ends)
  } catch (error) {
    if (ends) await library.end()
    throw error
  }
}

/** An open file. Made by {@link openHdf5}. */
export class Hdf5File {
  #closed = false

  constructor(
    readonly path: string,
    readonly format: string,
    readonly tree: Tree,
    private readonly library: Hdf5Library,
    private readonly endsLibrary: boolean,
  ) {}

  /**
   * One dataset as float32, row-major; the caller owns it.
   *
   * @throws ResidualError FILE_NOT_FOUND where reading fails, CHECKPOINT_INVALID, OUT_OF_MEMORY
   */
  async read(dataset: Dataset): Promise<Float32Array> {
    if (this.#closed) throw unreadable(this.path, new Error('it is closed'))
    const reply = await ask(this.library, { kind: 'read', dataset }, this).catch(error => {
      throw this.#closed ? unreadable(this.path, new Error('it was closed')) : error
    })
    return (reply as { values: Float32Array }).values
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.endsLibrary) await this.library.end()
  }
}

async function ask(
  library: Hdf5Library,
  request: Request,
  file: { readonly path: string; readonly format: string },
): Promise<Exclude<Reply, { failure: unknown }>> {
  let reply: Reply
  try {
    reply = await library.request(request)
  } catch (cause) {
    if (!(cause instanceof LibraryLost)) throw cause
    throw invalidCheckpoint(file, cause.message, cause)
  }
  if (!('failure' in reply)) return reply
  const { reason, message } = reply.failure
  if (reason === 'missing')
    throw new ResidualError('FILE_NOT_FOUND', `The checkpoint ${file.path} cannot be opened: ${message}.`)
  if (reason === 'unreadable') throw unreadable(file.path, new Error(message))
  if (reason === 'memory')
    throw new ResidualError('OUT_OF_MEMORY', `${file.path} takes more memory than can be had: ${message}.`)
  throw invalidCheckpoint(file, message)
}
