// Opening a checkpoint of any format, recognised by its first bytes.
import { ResidualError } from '../../errors.ts'
import { closingOnError } from '../../files/closing-on-error.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { openCheckpointFile } from '../checkpoint/checkpoint-file.ts'
import { openFile, unreadable } from '../checkpoint/read-fully.ts'
import { foreignFile, foreignZip } from './foreign.ts'

/** Readers are loaded on demand: some need packages that most users never load. */
interface Format {
  readonly name: string
  /** File extensions that also select the format, so that a damaged file gets its reader's error. */
  readonly endings: readonly string[]
  /** `head` are the first bytes of the file, {@link headBytes} unless it is shorter. */
  readonly matches: (head: Uint8Array) => boolean | Promise<boolean>
  readonly open: (path: string) => Promise<Checkpoint>
}

// In the order they are tried: older PyTorch files are pickles like Paddle's, Paddle's programs are JSON like an index, and ONNX
// has no signature.
const formats: readonly Format[] = [
  {
    name: 'safetensors',
    endings: ['.safetensors'],
    matches: head => head[8] === 0x7b && head[5] === 0 && head[6] === 0 && head[7] === 0, // '{' after a length
    open: async path => (await import('./safetensors/open-safetensors.ts')).openSafetensors(path),
  },
  {
    name: 'zip (PyTorch, Keras)',
    endings: ['.keras'],
    matches: async head => (await import('./zip.ts')).looksLikeZip(head),
    open: openZip,
  },
  {
    name: 'PyTorch',
    endings: ['.pth', '.pt', '.bin'],
    matches: async head => (await import('./pytorch/open-pytorch.ts')).looksLikePyTorch(head),
    open: async path => (await import('./pytorch/open-pytorch.ts')).openPyTorch(path),
  },
  {
    name: 'Paddle',
    endings: ['.pdparams'],
    matches: async head => (await import('./paddle/open-paddle.ts')).looksLikePaddle(head),
    open: async path => (await import('./paddle/open-paddle.ts')).openPaddle(path),
  },
  {
    name: 'safetensors with an index',
    endings: ['.safetensors.index.json'],
    matches: head => head[0] === 0x7b, // '{'
    open: async path => (await import('./safetensors/sharded.ts')).openShardedSafetensors(path),
  },
  {
    name: 'HDF5 (Keras)',
    endings: ['.h5', '.hdf5'],
    matches: async head => (await import('./keras/open-keras.ts')).isHdf5(head),
    open: async path => (await import('./keras/open-keras.ts')).openKerasHdf5(path),
  },
  {
    name: 'ONNX',
    endings: ['.onnx'],
    matches: async head => (await import('./onnx/open-onnx.ts')).looksLikeOnnx(head),
    open: async path => (await import('./onnx/open-onnx.ts')).openOnnx(path),
  },
]

/** How much of a file is inspected. */
export const headBytes = 512

/** Extensions of files that can be opened. */
export const checkpointEndings: readonly string[] = formats.flatMap(({ endings }) => endings)

/**
 * Opens a checkpoint of any supported format. Close it after use.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const head = await readHead(path)
  const foreign = foreignFile(head, path)
  if (foreign !== undefined) throw notACheckpoint(path, foreign)
  const format =
    (await formatOf(head)) ??
    formats.find(({ endings }) => endings.some(ending => path.toLowerCase().endsWith(ending)))
  if (format) return format.open(path)
  const known = formats.map(({ name }) => name).join(', ')
  throw notACheckpoint(path, `it begins with the bytes ${hex(head.subarray(0, 8))}. Supported are ${known}`)
}

function notACheckpoint(path: string, why: string): ResidualError {
  return new ResidualError('CHECKPOINT_INVALID', `${path} is not a supported checkpoint: ${why}.`)
}

async function formatOf(head: Uint8Array): Promise<Format | undefined> {
  for (const format of formats) if (await format.matches(head)) return format
  return undefined
}

async function readHead(path: string): Promise<Uint8Array> {
  const handle = await openFile(path)
  try {
    if (!(await handle.stat()).isFile())
      throw new ResidualError('CHECKPOINT_INVALID', `${path} is not a checkpoint: it is not a file.`)
    const { bytesRead, buffer } = await handle.read(new Uint8Array(headBytes), 0, headBytes, 0)
    return buffer.subarray(0, bytesRead)
  } catch (cause) {
    throw cause instanceof ResidualError ? cause : unreadable(path, cause as Error)
  } finally {
    await handle.close()
  }
}

/** The contents of a zip decide whether it is PyTorch's or Keras'. */
async function openZip(path: string): Promise<Checkpoint> {
  const { readZip } = await import('./zip.ts')
  const { isKerasArchive } = await import('./keras/archive.ts')
  return await closingOnError(await openCheckpointFile(path, 'zip'), async file => {
    const zip = await readZip(file)
    if (isKerasArchive(zip)) return await (await import('./keras/open-keras.ts')).openKerasZip(file, zip)
    const foreign = foreignZip([...zip.entries.keys()])
    if (foreign !== undefined) throw notACheckpoint(path, foreign)
    return await (await import('./pytorch/open-pytorch.ts')).readPyTorchZip(file.as('PyTorch'), zip)
  })
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
