// Opening files, and reading an exact range of bytes.
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { ResidualError, systemReason } from '../../errors.ts'
import { invalidCheckpoint } from './checkpoint-error.ts'

const mostBytes = 1 << 30 // some systems refuse a single read of 2 GiB or more

// Otherwise a pipe that nobody writes to would block.
const readWithoutWaiting = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

/** @throws ResidualError FILE_NOT_FOUND */
export async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, readWithoutWaiting)
  } catch (cause) {
    const problem = `The checkpoint ${path} cannot be opened: ${systemReason(cause)}`
    throw new ResidualError('FILE_NOT_FOUND', `${problem}.`, { cause })
  }
}

/**
 * Fills the targets, one after another, from `position` on. A file that is too short has been truncated since its header was
 * checked.
 *
 * @throws ResidualError FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID
 */
export async function readFully(
  handle: FileHandle,
  targets: readonly Uint8Array[],
  position: number,
  file: { readonly path: string; readonly format: string },
): Promise<void> {
  let at = position
  let rest = targets.filter(target => target.length > 0)
  while (rest.length > 0) {
    const { bytesRead } = await handle.readv(atMost(rest, mostBytes), at).catch(cause => {
      throw unreadable(file.path, cause)
    })
    if (bytesRead === 0) throw invalidCheckpoint(file, `it ends at ${at} bytes, in the middle of a tensor`)
    at += bytesRead
    rest = after(rest, bytesRead)
  }
}

export function unreadable(path: string, cause: Error): ResidualError {
  return new ResidualError('FILE_NOT_FOUND', `${path} cannot be read: ${cause.message}.`, { cause })
}

/** The first targets, at least one, with at most `bytes` together; if the first is longer, only its beginning. */
function atMost(targets: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const [first, ...others] = targets as [Uint8Array, ...Uint8Array[]]
  const result = [first.subarray(0, bytes)]
  let total = first.length
  for (const target of others) {
    total += target.length
    if (total > bytes) break
    result.push(target)
  }
  return result
}

/** The targets without their first `bytes`. */
function after(targets: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let filled = bytes
  const rest: Uint8Array[] = []
  for (const target of targets) {
    if (filled < target.length) rest.push(target.subarray(filled))
    filled = Math.max(filled - target.length, 0)
  }
  return rest
}
