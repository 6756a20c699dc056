// A checkpoint's file: opened, read by position, and checked to be unchanged. It is not memory-mapped: if a mapped file is
// truncated, SIGBUS ends the process.
import type { FileHandle } from 'node:fs/promises'
import { closingOnError } from '../../files/closing-on-error.ts'
import { invalidCheckpoint } from './checkpoint-error.ts'
import { openFile, readFully, unreadable } from './read-fully.ts'

/** A position in an open file. */
export interface FilePlace {
  /** The file descriptor, valid until the file is closed. */
  readonly descriptor: number
  readonly position: number
}

/** Bytes that are read by position. Outside of tests, always a file. */
export interface ByteSource {
  readonly path: string
  /** For messages: `safetensors`, `PyTorch`. */
  readonly format: string
  readonly size: number
  /** Set for files only. */
  readonly descriptor?: number
  /**
   * Fills the targets, one after another, from `position` on.
   *
   * @throws ResidualError FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID if the file is too short
   */
  read(targets: readonly Uint8Array[], position: number): Promise<void>
  /** @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID if it has changed since it was opened */
  checkUnchanged(): Promise<void>
  close(): Promise<void>
}

/**
 * Opens a file, which messages will call a `format` file.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID if it is not a file
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

  /** The same open file, with another format or path in messages. */
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
