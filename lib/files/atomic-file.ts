// Atomic file writes: the data goes to a temporary file in the same folder, which is then renamed.
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { access, type FileHandle, lstat, open, readlink, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { ResidualError } from '../errors.ts'
import { removeAbandoned, temporaryName } from './abandoned-files.ts'

/**
 * Writes `path` with `write`, which is given the file's handle. A link stays a link: its target is written. A file that is
 * replaced keeps its permissions.
 *
 * @throws ResidualError FILE_WRITE_FAILED, or what `write` throws; `path` is then unchanged
 */
export async function writeAtomically(
  path: string,
  write: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  let temporary: string | undefined
  let handle: FileHandle | undefined
  try {
    const target = await throughLinks(path)
    const mode = await modeOf(target)
    await removeAbandoned(dirname(target))
    temporary = join(dirname(target), temporaryName(randomBytes(6)))
    handle = await open(temporary, 'wx')
    if (mode !== undefined) await handle.chmod(mode)
    await write(handle)
    await handle.sync()
    await handle.close()
    await rename(temporary, target)
  } catch (cause) {
    await handle?.close().catch(() => {})
    if (temporary !== undefined) await rm(temporary, { force: true }).catch(() => {}) // the first error is the one that matters
    throw isOfSystem(cause) || cause instanceof NotReplaceable ? notWritten(path, cause) : cause
  }
}

/**
 * Checks before long work that {@link writeAtomically} is likely to succeed.
 *
 * @throws ResidualError FILE_WRITE_FAILED
 */
export async function checkWritable(path: string): Promise<void> {
  try {
    const target = await throughLinks(path)
    await modeOf(target)
    await access(dirname(target), constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw notWritten(path, cause)
  }
}

/** The error for a failed write of `path`. */
export function notWritten(path: string, cause: unknown): ResidualError {
  return new ResidualError(
    'FILE_WRITE_FAILED',
    `${path} could not be written: ${(cause as Error).message}.`,
    { cause },
  )
}

/** Whether the error came from the operating system; any other is the business of `write`. */
function isOfSystem(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error
}

class NotReplaceable extends Error {}

const mostLinks = 40 // as many as Linux follows

/** The real path of a file that exists or is to be created. A link to a missing file resolves to its target. */
async function throughLinks(path: string): Promise<string> {
  let place = path
  for (let links = 0; links < mostLinks; links++) {
    const isLink = await lstat(place).then(
      found => found.isSymbolicLink(),
      () => false,
    )
    if (!isLink) return place
    place = resolve(await realpath(dirname(place)), await readlink(place))
  }
  throw new NotReplaceable('its symbolic links form a loop')
}

/** The permissions of an existing file. */
async function modeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined)
  if (!found) return undefined
  if (found.isFile()) return found.mode & 0o7777
  // Renaming would replace a device or a pipe by a file.
  throw new NotReplaceable(found.isDirectory() ? 'it is a folder' : 'it is not a regular file')
}
