// How is a file written so that there is never half of one? Beside its place, under another name, and then renamed.
import { randomBytes } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { ResidualError } from '../errors.ts'

/**
 * Writes `path` by whatever `write` does with the file's handle.
 *
 * @throws ResidualError FILE_WRITE_FAILED, or what `write` says of its own; then what was at `path` is as before
 */
export async function writeAtomically(
  path: string,
  write: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  let handle: FileHandle | undefined
  try {
    handle = await open(temporary, 'wx')
    await write(handle)
    await handle.sync()
    await handle.close()
    await rename(temporary, path)
  } catch (cause) {
    await handle?.close().catch(() => {})
    await rm(temporary, { force: true }).catch(() => {}) // what went wrong first is what matters
    throw cause instanceof ResidualError ? cause : notWritten(path, cause)
  }
}

/** What a failed write of `path` is reported as. */
export function notWritten(path: string, cause: unknown): ResidualError {
  return new ResidualError(
    'FILE_WRITE_FAILED',
    `${path} could not be written: ${(cause as Error).message}.`,
    { cause },
  )
}
