// The bytes of a pickle as a stream, however long it is.
import type { ResidualError } from '../../../errors.ts'
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import { BufferedReader } from '../buffered-reader.ts'

/** Longer strings are left in the file. */
export const maxTextBytes = 4096
const maxLineBytes = 512
const enough = maxTextBytes + 16 // the most that an opcode and its argument take, apart from strings left in the file

/** A range of a file. {@link ready} must be true before each opcode: all of the opcode is then in memory. */
export class PickleInput {
  #window: BufferedReader
  /** In the file. */
  position: number

  constructor(
    readonly source: ByteSource,
    begin: number,
    readonly end = source.size,
  ) {
    this.#window = new BufferedReader(source, end)
    this.position = begin
  }

  ready(): boolean {
    return this.#window.has(this.position, Math.min(enough, this.end - this.position))
  }

  load(): Promise<void> {
    return this.#window.load(this.position)
  }

  uint(bytes: 1 | 2 | 4): number {
    const at = this.#take(bytes)
    return this.#window.bytes.readUIntLE(at, bytes)
  }

  int32(): number {
    return this.#window.bytes.readInt32LE(this.#take(4))
  }

  /** A length of 8 bytes. */
  uint64(): number {
    return Number(this.#window.bytes.readBigUInt64LE(this.#take(8)))
  }

  double(): number {
    return this.#window.bytes.readDoubleBE(this.#take(8))
  }

  /** A two's complement integer of up to 255 bytes. */
  long(length: number): number | bigint {
    const at = this.#take(length)
    let value = 0n
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#window.bytes[at + i]!)
    value = BigInt.asIntN(length * 8, value)
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value
  }

  /** At most {@link maxTextBytes}. Invalid UTF-8, such as Python's lone surrogates, becomes replacement characters. */
  text(length: number, encoding: 'utf8' | 'latin1'): string {
    const at = this.#take(length)
    return this.#window.bytes.toString(encoding, at, at + length)
  }

  /** The text up to the end of the line, exclusive. */
  line(): string {
    const { bytes, start } = this.#window
    const at = this.position - start
    const length = bytes.subarray(at, at + maxLineBytes).indexOf('\n')
    if (length < 0) throw this.invalid('a name in its pickle does not end')
    const line = this.text(length, 'utf8')
    this.position++
    return line
  }

  /** Skips bytes and returns their position. */
  skip(length: number): number {
    const at = this.position
    if (length > this.end - at) throw this.#ended()
    this.position += length
    return at
  }

  invalid(problem: string): ResidualError {
    return invalidCheckpoint(this.source, problem)
  }

  #take(length: number): number {
    return this.skip(length) - this.#window.start
  }

  #ended(): ResidualError {
    return this.invalid(`its pickle is truncated at byte ${this.position} of ${this.end}`)
  }
}
