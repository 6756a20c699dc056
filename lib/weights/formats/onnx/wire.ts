// Protocol buffers read by position from a file that is too large for memory: long fields are located, not loaded.
// https://protobuf.dev/programming-guides/encoding/
import type { Reader } from 'protobufjs'
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'

const windowBytes = 64 << 10
const headBytes = 20 // a tag, and a number or a length, at most ten bytes each
const maxTextBytes = 4096
const maxFields = 500_000 // of all messages: a ResNet-152 has 30,000

/** A part of the file. */
export interface Range {
  readonly begin: number
  readonly end: number
}

/** One field of a message: where its content is, and its value if that is a number. */
export interface Field extends Range {
  readonly id: number
  readonly kind: 'number' | 'bytes' | 'float' | 'double'
  readonly value: number
}

/** A window onto the file, which moves to where it is read. */
export class Wire {
  readonly #memory = new Uint8Array(windowBytes)
  #start = 0
  #bytes = this.#memory.subarray(0, 0)
  #reader: Reader | undefined
  #fields = 0

  constructor(
    readonly file: ByteSource,
    private readonly readerOf: (bytes: Uint8Array) => Reader,
  ) {}

  /** The fields of a message. */
  async fields({ begin, end }: Range): Promise<Field[]> {
    const fields: Field[] = []
    for (let at = begin; at < end; ) {
      if (++this.#fields > maxFields) throw this.invalid(`it has more than ${maxFields} fields`)
      const head = Math.min(headBytes, end - at)
      if (!this.#has(at, head)) await this.#load(at)
      const field = this.#field(at)
      if (field.end > end)
        throw this.invalid(
          `field ${field.id} at byte ${at} ends at ${field.end}, past the end of its message`,
        )
      fields.push(field)
      at = field.end
    }
    return fields
  }

  async text({ begin, end }: Range): Promise<string> {
    const bytes = await this.bytes({ begin, end }, maxTextBytes)
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
  }

  /** The numbers of one field, packed or not; for short lists. */
  async numbers(field: Field): Promise<number[]> {
    if (field.kind !== 'bytes') return [field.value]
    return this.#decode(await this.bytes(field, maxTextBytes), field)
  }

  /** All packed numbers. */
  async allNumbers(range: Range): Promise<number[]> {
    const bytes = new Uint8Array(range.end - range.begin)
    await this.file.read([bytes], range.begin)
    return this.#decode(bytes, range)
  }

  /** Valid until the next read. */
  async bytes({ begin, end }: Range, most: number): Promise<Uint8Array> {
    const length = end - begin
    if (length > most) throw this.invalid(`the field at byte ${begin} has ${length} bytes, more than ${most}`)
    if (!this.#has(begin, length)) await this.#load(begin)
    return this.#bytes.subarray(begin - this.#start, end - this.#start)
  }

  invalid(problem: string, cause?: unknown) {
    return invalidCheckpoint(this.file, problem, cause)
  }

  #decode(bytes: Uint8Array, { begin }: Range): number[] {
    const reader = this.readerOf(bytes)
    const numbers: number[] = []
    try {
      while (reader.pos < reader.len) numbers.push(Number(reader.int64()))
    } catch (cause) {
      throw this.invalid(`the numbers at byte ${begin} are damaged`, cause)
    }
    return numbers
  }

  #has(at: number, length: number): boolean {
    return at >= this.#start && at + length <= this.#start + this.#bytes.length
  }

  async #load(at: number): Promise<void> {
    this.#bytes = this.#memory.subarray(0, this.file.size - at)
    this.#start = at
    await this.file.read([this.#bytes], at)
    this.#reader = this.readerOf(this.#bytes)
  }

  #field(at: number): Field {
    const reader = this.#reader!
    reader.pos = at - this.#start
    try {
      const tag = reader.uint32()
      const id = tag >>> 3
      const whole = (kind: Field['kind'], value: number): Field => ({
        id,
        kind,
        value,
        begin: at,
        end: this.#start + reader.pos,
      })
      switch (tag & 7) {
        case 0:
          return whole('number', Number(reader.int64()))
        case 1:
          return whole('double', reader.double())
        case 5:
          return whole('float', reader.float())
        case 2: {
          const length = reader.uint32()
          const begin = this.#start + reader.pos
          return { id, kind: 'bytes', value: length, begin, end: begin + length }
        }
      }
      throw new RangeError(`unknown wire type ${tag & 7}`)
    } catch (cause) {
      throw this.invalid(`the field at byte ${at} is damaged: ${(cause as Error).message}`, cause)
    }
  }
}
