// A checkpoint's file: opened, read by position, and checked to be unchanged. It is not memory-mapped: if a mapped file is
// truncated, SIGBUS ends the process.
import type { FileHandle } from 'node:fs/promises'
import { closingOnError } from '../../files/closing-on-error.ts'
import { invalidCheckpoint } from './checkpoint-error.ts'
import { openFile, readFully, unreadable } from './read-fully.ts'

/** Where bytes begin in an open file. */
export interface FilePlace {
  /** The system's number for it, until it is closed. */
  readonly descriptor: number
  readonly position: number
}

/** Bytes that are read by position. Only files are, outside of tests. */
export interface ByteSource {
  readonly path: string
  /** For messages: `safetensors`, `PyTorch`. */
  readonly format: string
  readonly size: number
  /** Of a file alone. */
  readonly descriptor?: number
  /**
   * Fills the targets, one after another, from `position` on.
   *
   * @throws ResidualError FILE_NOT_FOUND where reading fails, CHECKPOINT_INVALID where the file ends before
   */
  read(targets: readonly Uint8Array[], position: number): Promise<void>
  /** @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID where it was changed since it was opened */
  checkUnchanged(): Promise<void>
  close(): Promise<void>
}

/**
 * Opens a file of which messages say that it is, or is not, a `format`.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID where it is no file
 */
export async function openCheckpointFile(path: string, format: string): Promise<CheckpointFile> {
  return closingOnError(await openFile(path), async handle => {
    const stat = await handle.stat({ bigint: true })
    if (!stat.isFile()) throw invalidCheckpoint({ path, format }, 'it is not a file')
    return new CheckpointFile(path, format, handle, Number(stat.size), stat.mtimeNs)
  })
}

/** An open file. Made by {@link openCheckpointFile}. */
export class CheckpointFile implements ByteSource {
  constructor(
    readonly path: string,
    readonly format: string,
    private readonly handle: FileHandle,
    readonly size: number,
    private readonly modifiedNs: bigint,
  ) {}

  /** The same open file, in messages another format's, or what was taken out of another file. */
  as(format: string, path = this.path): CheckpointFile {
    return new CheckpointFile(path, format, this.handle, this.size, this.modifiedNs)
  }

  get descriptor(): number {
    return this.handle.fd
  }

  read(targets: readonly Uint8Array[], position: number): Promise<void> {
    return readFully(this.handle, targets, position, this)
  }

  async checkUnchanged(): Promise<void> {
    const { mtimeNs } = await this.handle.stat({ bigint: true }).catch(cause => {
      throw unreadable(this.path, cause)
    })
    if (mtimeNs !== this.modifiedNs) throw invalidCheckpoint(this, 'it has changed since it was opened')
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}
