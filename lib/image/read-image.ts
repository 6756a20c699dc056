// Reading image files: in full, or only the first bytes if the file is not an image.
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { ResidualError } from '../errors.ts'
import { formatOf, headBytes } from './format.ts'

/** The most bytes an image file may have: enough for the largest image, uncompressed. */
export const mostFileBytes = 2 ** 30

// Otherwise opening a pipe that nobody writes to would block a thread forever.
const readWithoutWaiting = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

/**
 * Reads a file if it begins like an image, otherwise only enough of it to tell what it is.
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
      const problem = `${path} has ${size} bytes, more than the limit of ${mostFileBytes}`
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

/** Up to `length` bytes, as many as there are. */
async function readFrom(handle: FileHandle, begin: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length) // not pooled: libvips holds it for a long time
  let done = 0
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, begin + done)
    if (bytesRead === 0) break // truncated meanwhile: decoding reports it
    done += bytesRead
  }
  return bytes.subarray(0, done)
}

const unreadable = (path: string, why: string, cause?: unknown) =>
  new ResidualError('FILE_NOT_FOUND', `${path} cannot be read: ${why}.`, { cause })

/** Node's message without the path, which need not be repeated. */
function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'there is no such file'
  return message.replace(/, \w+ '.*'$/s, '').replace(/, read$/, '')
}
