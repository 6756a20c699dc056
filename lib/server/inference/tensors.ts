// Tensors of the Open Inference Protocol, read as images or pixels, the same for every transport.

import { setImmediate } from 'node:timers/promises'
import { types } from 'node:util'
import { ResidualError } from '../../errors.ts'
import type { Shape } from '../../model/plan.ts'
import { product } from '../../model/product.ts'
import type { InputTensor, OutputTensor, TensorMetadata } from '../protocol/tensor.ts'
import { invalid, readValues, wrongSize } from '../protocol/tensor-values.ts'

/** The images of a request. */
export type Input =
  | { readonly kind: 'images'; readonly images: readonly Uint8Array[] }
  | { readonly kind: 'pixels'; readonly count: number; readonly pixels: Uint8Array | Float32Array } // [N,H,W,3]

export const inputNames = { images: 'pictures', pixels: 'pixels', tensor: 'tensor' } as const
export type TensorName = (typeof inputNames)[keyof typeof inputNames]

/** The inputs of a model; a request has exactly one of them. */
export function inputMetadata({ height, width }: Shape): TensorMetadata[] {
  return [
    { name: inputNames.images, datatype: 'BYTES', shape: [-1] },
    { name: inputNames.pixels, datatype: 'UINT8', shape: [-1, height, width, 3] },
    { name: inputNames.tensor, datatype: 'FP32', shape: [-1, 3, height, width] },
  ]
}

/**
 * Reads the only input of a request, which may be any one of `known`.
 *
 * @throws ResidualError REQUEST_INVALID, REQUEST_TOO_LARGE
 */
export async function readInput(
  inputs: readonly InputTensor[],
  known: readonly TensorMetadata[],
  maxPictures: number,
): Promise<Input> {
  const [input] = inputs
  const names = known.map(({ name }) => name).join(', ')
  if (!input || inputs.length > 1)
    throw invalid(`The request has ${inputs.length} inputs; it must have exactly one: ${names}.`)
  const expected = known.find(({ name }) => name === input.name)
  if (!expected) throw invalid(`The model has no input '${input.name}'; it has ${names}.`)
  if (input.datatype !== expected.datatype)
    throw invalid(
      `The datatype of the input '${input.name}' must be ${expected.datatype}, not ${input.datatype}.`,
    )
  const count = readCount(input, expected)
  if (count > maxPictures) {
    const message = `The request has ${count} images, more than the limit of ${maxPictures}. Split it.`
    throw new ResidualError('REQUEST_TOO_LARGE', message)
  }
  const { raw, elements } = input.values ? readValues(input, input.values) : input
  switch (input.name) {
    case inputNames.images:
      return { kind: 'images', images: readBytes(input, count, raw, elements) }
    case inputNames.pixels:
      return { kind: 'pixels', count, pixels: readPixels(input, raw!) }
    default:
      return { kind: 'pixels', count, pixels: await toChannelsLast(readFloats(input, raw!), count) }
  }
}

/** The number of images according to the shape of `input`. */
function readCount({ name, shape }: InputTensor, expected: TensorMetadata): number {
  const [count = 0, ...rest] = shape
  const fits =
    shape.length === expected.shape.length &&
    shape.every(extent => Number.isSafeInteger(extent)) &&
    count >= 1 &&
    rest.every((extent, i) => extent === expected.shape[i + 1])
  if (!fits) {
    const wanted = ['N', ...expected.shape.slice(1)].join(',')
    throw invalid(`The input '${name}' has shape [${shape}]; it must be [${wanted}] with N of at least 1.`)
  }
  return count
}

function readPixels(input: InputTensor, raw: Uint8Array): Uint8Array {
  if (raw.length !== product(input.shape)) throw wrongSize(input, `${raw.length} bytes`)
  return raw
}

/** `[N,3,H,W]`, which may share memory with the input. */
function readFloats(input: InputTensor, raw: Uint8Array): Float32Array {
  const length = product(input.shape)
  if (raw.length !== length * Float32Array.BYTES_PER_ELEMENT) throw wrongSize(input, `${raw.length} bytes`)
  // Floats must be aligned to four bytes; the bytes of a request need not be.
  const aligned = raw.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0 ? raw : new Uint8Array(raw)
  return new Float32Array(aligned.buffer, aligned.byteOffset, length)
}

const elementsPerTurn = 2 ** 20 // a few milliseconds

/** `[N,3,H,W]` to `[N,H,W,3]`. Yields to the event loop now and then. */
async function toChannelsLast(source: Float32Array, count: number): Promise<Float32Array> {
  const result = new Float32Array(source.length)
  const plane = source.length / count / 3
  let sinceTurn = 0
  for (let n = 0; n < count; n++) {
    for (let c = 0; c < 3; c++) {
      const from = (n * 3 + c) * plane
      const to = n * 3 * plane + c
      for (let pixel = 0; pixel < plane; pixel++) {
        const value = source[from + pixel]!
        if (!Number.isFinite(value))
          throw invalid(`Element ${from + pixel} of the input '${inputNames.tensor}' must be finite.`)
        result[to + pixel * 3] = value
      }
    }
    sinceTurn += plane * 3
    if (sinceTurn < elementsPerTurn) continue
    await setImmediate()
    sinceTurn = 0
  }
  return result
}

/** The elements of a BYTES tensor. */
function readBytes(
  input: InputTensor,
  count: number,
  raw: Uint8Array = new Uint8Array(),
  read?: readonly Uint8Array[],
): readonly Uint8Array[] {
  if (read) return read
  const elements: Uint8Array[] = []
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length)
  let at = 0
  while (at < raw.length && elements.length < count) {
    if (at + 4 > raw.length) throw wrongSize(input, 'a truncated length at its end')
    const length = view.getUint32(at, /*littleEndian=*/ true)
    at += 4
    if (at + length > raw.length)
      throw wrongSize(input, `an element of ${length} bytes where ${raw.length - at} are left`)
    elements.push(raw.subarray(at, at + length))
    at += length
  }
  if (elements.length !== count || at !== raw.length)
    throw wrongSize(input, `${elements.length} elements and ${raw.length - at} bytes after them`)
  return elements
}

/** The elements of a tensor in the format of the binary extension and of gRPC's raw contents. */
export function toRaw({ data }: OutputTensor): Buffer {
  if (types.isFloat32Array(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return Buffer.concat(
    data.flatMap(element => {
      const bytes = Buffer.from(element)
      const length = Buffer.alloc(4)
      length.writeUInt32LE(bytes.length)
      return [length, bytes]
    }),
  )
}
