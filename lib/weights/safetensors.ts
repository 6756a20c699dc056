// How are tensors read from a safetensors file? By position, one at a time, straight into the array that is returned.
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { ResidualError } from '../errors.ts'
import { decodeBFloat16, decodeFloat16, indexOutside } from './float16.ts'
import { type Header, invalid, maxHeaderBytes, parseHeader, type TensorInfo } from './safetensors-header.ts'
import { tensorNotFound } from './source.ts'

// A pipe nobody writes to would otherwise block; it is refused for not being a file.
const readWithoutWaiting = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

const lengthBytes = 8 // the header's length, little-endian, at the beginning of the file
const chunkBytes = 4 << 20 // 16-bit data is read and converted in pieces of this size

/**
 * Opens a file and checks its header. Close it after use.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID
 */
export async function openSafetensors(path: string): Promise<Safetensors> {
  let handle: FileHandle
  try {
    handle = await open(path, readWithoutWaiting)
  } catch (cause) {
    const reason =
      (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'does not exist' : (cause as Error).message
    throw new ResidualError('FILE_NOT_FOUND', `The checkpoint ${path} cannot be opened: ${reason}.`, {
      cause,
    })
  }
  try {
    const { header, dataStart, modifiedNs } = await readHeader(handle, path)
    return new Safetensors(path, handle, header, dataStart, modifiedNs)
  } catch (error) {
    await handle.close()
    throw error
  }
}

async function readHeader(
  handle: FileHandle,
  path: string,
): Promise<{ header: Header; dataStart: number; modifiedNs: bigint }> {
  const stat = await handle.stat({ bigint: true })
  const size = Number(stat.size)
  if (!stat.isFile()) throw invalid(path, 'it is not a file')
  if (size < lengthBytes) throw invalid(path, `it has only ${size} bytes`)
  const prefix = new Uint8Array(lengthBytes)
  await readFully(handle, prefix, 0, path)
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, /*littleEndian=*/ true))
  if (length > maxHeaderBytes)
    throw invalid(path, `its header claims ${length} bytes, more than ${maxHeaderBytes}`)
  if (length === 0 || length > size - lengthBytes) {
    throw invalid(path, `its header claims ${length} bytes and the file has ${size}`)
  }
  const bytes = new Uint8Array(length)
  await readFully(handle, bytes, lengthBytes, path)
  const dataStart = lengthBytes + length
  const header = parseHeader(bytes, size - dataStart, path)
  return { header, dataStart, modifiedNs: stat.mtimeNs }
}

/** An open file. Made by {@link openSafetensors}. */
export class Safetensors {
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: ReadonlyMap<string, TensorInfo>

  constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    header: Header,
    private readonly dataStart: number,
    private readonly modifiedNs: bigint,
  ) {
    this.metadata = header.metadata
    this.tensors = header.tensors
  }

  /**
   * One tensor as float32, row-major; the caller owns it. F64 is rounded.
   *
   * @throws ResidualError TENSOR_NOT_FOUND, NON_FINITE, OUT_OF_MEMORY, FILE_NOT_FOUND where reading fails,
   *   CHECKPOINT_INVALID for other dtypes or a file changed since it was opened
   */
  async read(name: string): Promise<Float32Array> {
    const info = this.tensors.get(name)
    if (!info) throw tensorNotFound(name, this.path)
    const result = allocate(info, this.path)
    await this.#fill(result, info)
    const { mtimeNs } = await this.handle.stat({ bigint: true })
    if (mtimeNs !== this.modifiedNs) throw invalid(this.path, 'it has changed since it was opened')
    const bad = indexOutside(result, Number.POSITIVE_INFINITY)
    if (bad >= 0) {
      throw new ResidualError('NON_FINITE', `'${name}' in ${this.path} holds ${result[bad]} at index ${bad}.`)
    }
    return result
  }

  close(): Promise<void> {
    return this.handle.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #fill(result: Float32Array, { name, dtype, begin }: TensorInfo): Promise<void> {
    const at = this.dataStart + begin
    switch (dtype) {
      case 'F32':
        return readFully(this.handle, new Uint8Array(result.buffer), at, this.path)
      case 'F16':
        return this.#fillInChunks(result, at, Uint16Array, decodeFloat16)
      case 'BF16':
        return this.#fillInChunks(result, at, Uint16Array, decodeBFloat16)
      case 'F64':
        return this.#fillInChunks(result, at, Float64Array, (source, target) => target.set(source))
      default:
        throw invalid(this.path, `'${name}' is ${dtype}, and weights are F32, F16, BF16 or F64`)
    }
  }

  async #fillInChunks<T extends Uint16Array | Float64Array>(
    result: Float32Array,
    at: number,
    Source: { new (length: number): T; readonly BYTES_PER_ELEMENT: number },
    convert: (source: T, target: Float32Array) => void,
  ): Promise<void> {
    const size = Source.BYTES_PER_ELEMENT
    const step = chunkBytes / size
    for (let begin = 0; begin < result.length; begin += step) {
      const target = result.subarray(begin, begin + step)
      const source = new Source(target.length)
      await readFully(this.handle, new Uint8Array(source.buffer), at + begin * size, this.path)
      convert(source, target)
    }
  }
}

function allocate({ name, length }: TensorInfo, path: string): Float32Array {
  try {
    return new Float32Array(length)
  } catch (cause) {
    const problem = `'${name}' in ${path} takes ${length * 4} bytes as float32, more than can be had`
    throw new ResidualError('OUT_OF_MEMORY', `${problem}.`, { cause })
  }
}

/** Fills `target` from `position`. A file that ends before that has been cut since its header was checked. */
async function readFully(
  handle: FileHandle,
  target: Uint8Array,
  position: number,
  path: string,
): Promise<void> {
  let done = 0
  while (done < target.length) {
    // A single read of 2 GiB or more is refused by some systems.
    const length = Math.min(target.length - done, 1 << 30)
    const { bytesRead } = await handle.read(target, done, length, position + done).catch((cause: Error) => {
      throw new ResidualError('FILE_NOT_FOUND', `${path} cannot be read: ${cause.message}.`, { cause })
    })
    if (bytesRead === 0) throw invalid(path, `it ends at ${position + done} bytes, in the middle of a tensor`)
    done += bytesRead
  }
}
