// Typed contents of gRPC messages, read and written separately from the message. protobufjs would make an object per number and
// block the event loop; packed floats are identical to raw contents, and packed integers are read in slices.
import protobuf from 'protobufjs'
import { ResidualError } from '../../errors.ts'
import { mostElse } from '../protocol/parameters.ts'

/** The contents of an input in wire format, by the field of `InferTensorContents`. */
export interface WireContents {
  /** Varints. */
  readonly uint_contents: Uint8Array[]
  /** Little-endian. */
  readonly fp32_contents: Uint8Array[]
  /** One element each. */
  readonly bytes_contents: Uint8Array[]
}

export interface TakenApart {
  /** The message without what is in `contents`. */
  readonly rest: Buffer
  /** One entry per input, in order. */
  readonly contents: readonly (WireContents | undefined)[]
  /** Why the message is refused; `rest` then has only its first fields. */
  readonly refusal?: ResidualError
}

/** Field numbers, and the wire type that states a length. */
const [inputs, rawInputContents, contents, lengthDelimited] = [5, 7, 5, 2]
const contentFields = new Map<number, keyof WireContents>([
  [4, 'uint_contents'],
  [6, 'fp32_contents'],
  [8, 'bytes_contents'],
])

interface Field {
  readonly id: number
  readonly type: number
  /** Including its tag. */
  readonly whole: Buffer
  /** Without its tag and length; empty for types without a length. */
  readonly inner: Buffer
}

/** @throws RangeError, Error if the bytes are not a valid message */
function* fieldsOf(bytes: Buffer): Generator<Field> {
  const reader = protobuf.Reader.create(bytes)
  while (reader.pos < reader.len) {
    const from = reader.pos
    const tag = reader.uint32()
    const [id, type] = [tag >>> 3, tag & 7]
    let inner: Buffer = empty
    if (type === lengthDelimited) {
      const length = reader.size()
      inner = bytes.subarray(reader.pos, reader.pos + length)
      reader.skip(length)
    } else reader.skipType(type)
    yield { id, type, whole: bytes.subarray(from, reader.pos), inner }
  }
}

const empty = Buffer.alloc(0)

/**
 * Takes the typed contents out of a `ModelInferRequest`. Unpacked ones stay in it. A message with so much else that parsing
 * it would block the event loop is refused.
 *
 * @throws RangeError, Error if the bytes are not a valid message
 */
export function takeContents(message: Buffer): TakenApart {
  const rest: Buffer[] = []
  const found: (WireContents | undefined)[] = []
  const budget = new Budget()
  for (const { id, type, whole, inner } of fieldsOf(message)) {
    if (id === inputs && type === lengthDelimited) {
      const { kept, taken } = takeFromInput(inner, budget)
      if (!budget.exceeded) rest.push(header(inputs, kept.length), kept)
      found.push(taken)
      budget.spend(whole.length - inner.length)
    } else {
      budget.spend(whole.length - (id === rawInputContents ? inner.length : 0))
      if (!budget.exceeded) rest.push(whole)
    }
    if (!budget.exceeded) continue
    const text = `The message has more than ${mostElse} bytes besides tensor data. Pack the numbers, or send raw contents.`
    return { rest: Buffer.concat(rest), contents: [], refusal: new ResidualError('REQUEST_TOO_LARGE', text) }
  }
  return { rest: found.some(Boolean) ? Buffer.concat(rest) : message, contents: found }
}

class Budget {
  #left = mostElse

  get exceeded(): boolean {
    return this.#left < 0
  }

  spend(bytes: number): void {
    this.#left -= bytes
  }
}

function takeFromInput(input: Buffer, budget: Budget): { kept: Buffer; taken: WireContents | undefined } {
  const kept: Buffer[] = []
  let taken: WireContents | undefined
  for (const { id, type, whole, inner } of fieldsOf(input)) {
    const parts = id === contents && type === lengthDelimited ? packedParts(inner) : undefined
    if (parts) {
      taken ??= { uint_contents: [], fp32_contents: [], bytes_contents: [] }
      for (const part of parts) taken[contentFields.get(part.id)!].push(part.inner)
      budget.spend(whole.length - parts.reduce((sum, part) => sum + part.inner.length, 0))
    } else {
      budget.spend(whole.length)
      kept.push(whole)
    }
    if (budget.exceeded) break
  }
  return { kept: taken ? Buffer.concat(kept) : input, taken }
}

const mostParts = 2 ** 12 // of contents; packed numbers are one part, and so is an image

/** The fields of contents; undefined if they are of other types, unpacked, or absent. */
function packedParts(bytes: Buffer): Field[] | undefined {
  const parts: Field[] = []
  for (const field of fieldsOf(bytes)) {
    if (!contentFields.has(field.id) || field.type !== lengthDelimited || parts.length === mostParts)
      return undefined
    parts.push(field)
  }
  return parts.length > 0 ? parts : undefined
}

/** An output with its values in wire format instead of contents. */
export interface WireOutput {
  readonly tensor: object
  readonly packedFloats: Buffer
}

/**
 * The bytes of a `ModelInferResponse` with `outputs` besides those in `response`. `serialize` writes a message without contents.
 */
export function writeResponse(
  response: object,
  outputs: readonly WireOutput[],
  serialize: (response: object) => Buffer,
): Buffer {
  const written = outputs.flatMap(({ tensor, packedFloats }) => {
    const [{ inner }] = [...fieldsOf(serialize({ outputs: [tensor] }))] as [Field]
    const values = header(6, packedFloats.length)
    const contentsHeader = header(contents, values.length + packedFloats.length)
    const length = inner.length + contentsHeader.length + values.length + packedFloats.length
    return [header(inputs, length), inner, contentsHeader, values, packedFloats] // outputs have the same field number as inputs
  })
  return Buffer.concat([serialize(response), ...written])
}

/** The bytes of a `ModelStreamInferResponse` around the response in `written`. */
export function writeStreamResponse(written: Buffer, error = ''): Buffer {
  const text = Buffer.from(error)
  const errorField = text.length > 0 ? [header(1, text.length), text] : []
  return Buffer.concat([...errorField, header(2, written.length), written])
}

/** The tag and length in front of a field of `length` bytes. */
function header(id: number, length: number): Buffer {
  const writer = protobuf.Writer.create().uint32((id << 3) | lengthDelimited)
  return Buffer.from(writer.uint32(length).finish())
}
