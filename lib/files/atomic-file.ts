// Atomic file writes: the data goes to a temporary file in the same folder, which is then renamed.
import { randomBytes } from 'node:crypto'
import { type FileHandle, lstat, open, readlink, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { ResidualError } from '../errors.ts'
import { removeAbandoned, temporaryName } from './abandoned-files.ts'

/**
 * Writes `path` by whatever `write` does with the file's handle. A link stays one: what it leads to is written. A file that is
 * replaced keeps its permissions.
 *
 * @throws ResidualError FILE_WRITE_FAILED, or what `write` says of its own; then what was at `path` is as before
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
    if (temporary !== undefined) await rm(temporary, { force: true }).catch(() => {}) // what went wrong first is what matters
    throw isOfSystem(cause) || cause instanceof NotReplaceable ? notWritten(path, cause) : cause
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

/** Whether the operating system refused something; all else that `write` throws is its own affair. */
function isOfSystem(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error
}

class NotReplaceable extends Error {}

const mostLinks = 40 // as Linux follows

/** Where a file is, or is to be. That of a link that leads to none yet is where it leads. */
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
  throw new NotReplaceable('its links lead in a circle')
}

/** The permissions of a file that is there. */
async function modeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined)
  if (!found) return undefined
  if (found.isFile()) return found.mode & 0o7777
  // Renaming would put a file in the place of a device or a pipe.
  throw new NotReplaceable(found.isDirectory() ? 'it is a folder' : 'it is no regular file')
}
