// Reading image files: in full, or only the first bytes if the file is not an image.
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { ResidualError } from '../errors.ts'
import { formatOf, headBytes } from './format.ts'

/** The most bytes an image's file may have: enough for one of the most pixels that is packed not at all. */
export const mostFileBytes = 2 ** 30

// Opening a pipe that nobody writes to would otherwise take a thread for good.
const readWithoutWaiting = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

/**
 * Reads a file if it begins like an image, and otherwise only what tells what else it is.
 *
 * @throws ResidualError FILE_NOT_FOUND, PICTURE_TOO_LARGE; the signal's reason
 */
export async function readImage(path: string, signal: AbortSignal | undefined): Promise<Buffer> {
  const url = /^(?:data|https?|blob|file):/i.exec(path)
  if (url) throw unreadable(path, `it is a URL (${url[0]}). Give a path, or the bytes`)
  let handle: FileHandle | undefined
  try {
    handle = await open(path, readWithoutWaiting)
    const found = await handle.stat()
    if (!found.isFile()) throw new ResidualError('FILE_NOT_FOUND', `${path} is not a file.`)
    const { size } = found
    const head = await readFrom(handle, 0, Math.min(size, headBytes))
    if (!formatOf(head)) return head
    if (size > mostFileBytes) {
      const problem = `${path} has ${size} bytes, more than the ${mostFileBytes} that are read`
      throw new ResidualError('PICTURE_TOO_LARGE', `${problem}. Reduce it first.`)
    }
    signal?.throwIfAborted()
    return size === head.length ? head : await readFrom(handle, 0, size)
  } catch (cause) {
    if (cause instanceof ResidualError || signal?.aborted) throw cause
    throw unreadable(path, reasonOf(cause as NodeJS.ErrnoException), cause)
  } finally {
    await handle?.close()
  }
}

/** As many bytes as there are, at most `length`. */
async function readFrom(handle: FileHandle, begin: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length) // of no pool: libvips holds it for long
  let done = 0
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, begin + done)
    if (bytesRead === 0) break // cut meanwhile: decoding tells
    done += bytesRead
  }
  return bytes.subarray(0, done)
}

const unreadable = (path: string, why: string, cause?: unknown) =>
  new ResidualError('FILE_NOT_FOUND', `${path} cannot be read: ${why}.`, { cause })

/** Node's words without the path, which is long enough to be said once. */
function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'there is no such file'
  return message.replace(/, \w+ '.*'$/s, '').replace(/, read$/, '')
}
