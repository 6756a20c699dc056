// Opening safetensors files: tensors are read by position, straight into the target array.

import { closingOnError } from '../../../files/closing-on-error.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { type ByteSource, openCheckpointFile } from '../../checkpoint/checkpoint-file.ts'
import { readFloats } from '../../checkpoint/read-floats.ts'
import type { StoredTensor } from '../../checkpoint/stored-tensor.ts'
import { tensorNotFound } from '../../source.ts'
import { allocateFloats, allocateIntegers, checkFinite } from '../../tensors/float-tensor.ts'
import {
  checkIntegers,
  checkScales,
  type QuantizedTensor,
  scaleIntegers,
  scaleName,
} from '../../tensors/quantized-tensor.ts'
import { type FloatType, isFloatType, toFloat32 } from '../../tensors/stored-type.ts'
import { type Header, invalid, maxHeaderBytes, parseHeader, type TensorInfo } from './header.ts'

const lengthBytes = 8 // the header's length, little-endian, at the beginning of the file

/**
 * Opens a file and checks its header. Close it after use.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID
 */
export async function openSafetensors(path: string): Promise<Safetensors> {
  return readSafetensors(await openCheckpointFile(path, 'safetensors'))
}

/** Like {@link openSafetensors}, from an open file, which is closed if it is not such a file. */
export async function readSafetensors(file: ByteSource): Promise<Safetensors> {
  return closingOnError(file, async () => {
    const { header, dataStart } = await readHeader(file)
    return new Safetensors(file, header, dataStart)
  })
}

async function readHeader(file: ByteSource): Promise<{ header: Header; dataStart: number }> {
  const { path, size } = file
  if (size < lengthBytes) throw invalid(path, `it has only ${size} bytes`)
  const prefix = new Uint8Array(lengthBytes)
  await file.read([prefix], 0)
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, /*littleEndian=*/ true))
  if (length > maxHeaderBytes)
    throw invalid(path, `its header claims ${length} bytes, more than ${maxHeaderBytes}`)
  if (length === 0 || length > size - lengthBytes) {
    throw invalid(path, `its header claims ${length} bytes, but the file has ${size}`)
  }
  const bytes = new Uint8Array(length)
  await file.read([bytes], lengthBytes)
  const dataStart = lengthBytes + length
  return { header: parseHeader(bytes, size - dataStart, path), dataStart }
}

/** An open file. Made by {@link openSafetensors}. */
export class Safetensors implements Checkpoint {
  readonly format = 'safetensors'
  readonly metadata: ReadonlyMap<string, string>
  /** Without the scales of quantized tensors, which are part of those. */
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** By the name of the quantized tensor. */
  readonly #scales = new Map<string, TensorInfo>()

  readonly path: string

  constructor(
    private readonly file: ByteSource,
    private readonly header: Header,
    private readonly dataStart: number,
  ) {
    this.path = file.path
    this.metadata = header.metadata
    const tensors = new Map(header.tensors)
    for (const [name, { dtype }] of header.tensors) {
      const scales = dtype === 'I8' ? header.tensors.get(scaleName(name)) : undefined
      if (!scales) continue
      tensors.delete(scales.name)
      this.#scales.set(name, scales)
    }
    this.tensors = tensors
  }

  /** Whether the file has this tensor, be it only the scales of another. */
  has(name: string): boolean {
    return this.header.tensors.has(name)
  }

  /**
   * One tensor as float32, row-major; the caller owns it, or it is `into`. F64 is rounded.
   *
   * @throws ResidualError TENSOR_NOT_FOUND, NON_FINITE, OUT_OF_MEMORY, FILE_NOT_FOUND if reading fails, CHECKPOINT_INVALID for
   *   other dtypes or a file changed since it was opened
   */
  async read(name: string, into?: Float32Array): Promise<Float32Array> {
    const info = this.info(name)
    const result = allocateFloats(name, info.length, this.path, into)
    const quantized = await this.readIntegers(name)
    if (quantized) {
      scaleIntegers(quantized, result)
      return checkFinite(name, result, this.path)
    }
    const type = this.floatType(name)
    await readFloats(this.file, this.dataStart + info.begin, type, result)
    await this.file.checkUnchanged()
    return checkFinite(name, result, this.path)
  }

  async readIntegers(name: string): Promise<QuantizedTensor | undefined> {
    const info = this.info(name)
    if (!this.#scales.has(name)) return undefined
    const integers = allocateIntegers(name, info.length, this.path)
    await this.file.read([new Uint8Array(integers.buffer)], this.dataStart + info.begin)
    const scales = await this.readScales(name)
    await this.file.checkUnchanged()
    return { integers: checkIntegers(name, integers, this.path), scales }
  }

  /** The scales of a quantized tensor: one for each channel, positive. */
  private async readScales(name: string): Promise<Float32Array> {
    const { dtype, shape, begin, length, name: itsName } = this.#scales.get(name)!
    const { shape: scaled } = this.info(name)
    const channels = scaled[0] ?? 1
    if (dtype !== 'F32' || shape.length !== 1 || length !== channels)
      throw invalid(
        this.path,
        `'${itsName}' is ${dtype} [${shape.join(',')}] where F32 [${channels}] is expected, of '${name}' [${scaled.join(',')}]`,
      )
    const scales = new Float32Array(length)
    await this.file.read([new Uint8Array(scales.buffer)], this.dataStart + begin)
    return checkScales(name, scales, this.path)
  }

  /** Adjacent tensors are read together. Does not check whether the file has changed. */
  async readTogether(names: readonly string[]): Promise<Float32Array[]> {
    const all = names.map(name => {
      const [info, type] = [this.info(name), this.floatType(name)]
      const result = new Float32Array(info.length)
      const bytes = type === 'F32' ? new Uint8Array(result.buffer) : new Uint8Array(info.end - info.begin)
      return { info, type, result, bytes }
    })
    const inOrder = all.toSorted((a, b) => a.info.begin - b.info.begin)
    const reads: Promise<void>[] = []
    for (let first = 0; first < inOrder.length; ) {
      let end = first + 1
      while (end < inOrder.length && inOrder[end]!.info.begin === inOrder[end - 1]!.info.end) end++
      const targets = inOrder.slice(first, end).map(({ bytes }) => bytes)
      reads.push(this.file.read(targets, this.dataStart + inOrder[first]!.info.begin))
      first = end
    }
    await Promise.all(reads)
    return all.map(({ info, type, result, bytes }) => {
      if (type !== 'F32') toFloat32(type, bytes, result)
      return checkFinite(info.name, result, this.path)
    })
  }

  stored(name: string): StoredTensor | undefined {
    const [{ descriptor }, info] = [this.file, this.tensors.get(name)]
    if (descriptor === undefined || !info) return undefined
    const place = { descriptor, position: this.dataStart + info.begin }
    if (this.#scales.has(name)) return { place, type: 'I8', readScales: () => this.readScales(name) }
    return isFloatType(info.dtype) ? { place, type: info.dtype } : undefined
  }

  checkUnchanged(): Promise<void> {
    return this.file.checkUnchanged()
  }

  /** @throws ResidualError TENSOR_NOT_FOUND */
  private info(name: string): TensorInfo {
    const info = this.tensors.get(name)
    if (!info) throw tensorNotFound(name, this.path)
    return info
  }

  /** @throws ResidualError TENSOR_NOT_FOUND, CHECKPOINT_INVALID for types that weights cannot have */
  private floatType(name: string): FloatType {
    const { dtype } = this.info(name)
    if (isFloatType(dtype)) return dtype
    const missing = dtype === 'I8' ? ` and has no scales, '${scaleName(name)}'` : ''
    throw invalid(
      this.path,
      `'${name}' is ${dtype}${missing}; weights must be F32, F16, BF16, F64, or I8 with scales`,
    )
  }

  close(): Promise<void> {
    return this.file.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
