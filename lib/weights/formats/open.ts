// In which format is a checkpoint, whatever it is called? Its first bytes tell.
import { ResidualError } from '../../errors.ts'
import type { Checkpoint } from '../checkpoint.ts'
import { openFile, unreadable } from '../read-fully.ts'

/** Readers are loaded when they are needed: some take packages that most who load this package never use. */
interface Format {
  readonly name: string
  /** Endings of files' names that say so too: a damaged file gets its reader's error then. */
  readonly endings: readonly string[]
  /** `head` are the first bytes of the file, {@link headBytes} unless it is shorter. */
  readonly matches: (head: Uint8Array) => boolean
  readonly open: (path: string) => Promise<Checkpoint>
}

const formats: readonly Format[] = [
  {
    name: 'safetensors',
    endings: ['.safetensors'],
    matches: head => head[8] === 0x7b && head[5] === 0 && head[6] === 0 && head[7] === 0, // '{' behind a length
    open: async path => (await import('../safetensors.ts')).openSafetensors(path),
  },
]

/** How much of a file is looked at. */
export const headBytes = 512

/** Endings of the names of files that can be opened. */
export const checkpointEndings: readonly string[] = formats.flatMap(({ endings }) => endings)

/**
 * Opens a checkpoint of any format that can be read. Close it after use.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const head = await readHead(path)
  const format =
    formats.find(({ matches }) => matches(head)) ??
    formats.find(({ endings }) => endings.some(ending => path.toLowerCase().endsWith(ending)))
  if (format) return format.open(path)
  const bytes = head.length === 0 ? 'it is empty' : `it begins with the bytes ${hex(head.subarray(0, 8))}`
  throw new ResidualError(
    'CHECKPOINT_INVALID',
    `${path} is no checkpoint that can be read: ${bytes}. Known are ${formats.map(({ name }) => name).join(', ')}.`,
  )
}

async function readHead(path: string): Promise<Uint8Array> {
  const handle = await openFile(path)
  try {
    if (!(await handle.stat()).isFile())
      throw new ResidualError('CHECKPOINT_INVALID', `${path} is no checkpoint: it is not a file.`)
    const { bytesRead, buffer } = await handle.read(new Uint8Array(headBytes), 0, headBytes, 0)
    return buffer.subarray(0, bytesRead)
  } catch (cause) {
    throw cause instanceof ResidualError ? cause : unreadable(path, cause as Error)
  } finally {
    await handle.close()
  }
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
