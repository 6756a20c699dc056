// How does the body of a request come in? Whole, counted as it arrives against what one and all requests may hold.
import type { Readable, Transform } from 'node:stream'
import { createGunzip, createInflate } from 'node:zlib'
import { ResidualError } from '../errors.ts'
import { invalid } from './tensor-values.ts'

/** The bytes that all requests hold together. */
export class BodyBudget {
  #held = 0

  constructor(
    readonly bodyBytes: number,
    readonly heldBytes: number,
  ) {}

  /** What one request holds: to be released once it is answered. */
  open(): HeldBody {
    let own = 0
    let released = false
    const tooLarge = () => {
      const message = `The body is over the limit of ${this.bodyBytes} bytes. Split the request.`
      return new ResidualError('REQUEST_TOO_LARGE', message)
    }
    const take = (bytes: number) => {
      if (released) throw new ResidualError('REQUEST_ABORTED', 'The client went away within its request.')
      if (own + bytes > this.bodyBytes) throw tooLarge()
      if (this.#held + bytes > this.heldBytes) {
        const message = `The requests under way hold ${this.#held} bytes of at most ${this.heldBytes}. Try again later.`
        throw new ResidualError('SERVER_BUSY', message)
      }
      own += bytes
      this.#held += bytes
    }
    return {
      take,
      read: async (stream, announced) => {
        if (announced > this.bodyBytes) throw tooLarge() // before a byte of it is kept
        try {
          return await collect(stream, take)
        } catch (cause) {
          if (cause instanceof ResidualError) throw cause
          throw new ResidualError('REQUEST_ABORTED', 'The client went away within its request.', { cause })
        }
      },
      inflate: async (body, encoding) => {
        const name = encoding.toLowerCase()
        if (name === 'identity') return body
        const inflater = inflaters.get(name)
        if (!inflater) {
          const message = `The content encoding '${encoding}' is none of ${contentEncodings}.`
          throw new ResidualError('ENCODING_UNSUPPORTED', message)
        }
        try {
          const stream = inflater()
          stream.end(body)
          return await collect(stream, take) // counted as it grows: little can become much
        } catch (error) {
          if (error instanceof ResidualError) throw error
          throw invalid(`The body is not what its content encoding '${encoding}' says.`)
        }
      },
      release: () => {
        this.#held -= own
        own = 0
        released = true
      },
    }
  }
}

export interface HeldBody {
  /** @throws ResidualError REQUEST_TOO_LARGE, SERVER_BUSY, REQUEST_ABORTED */
  take(bytes: number): void
  /**
   * Reads a body whose length was announced, or 0 for unknown.
   *
   * @throws ResidualError REQUEST_TOO_LARGE, SERVER_BUSY
   */
  read(stream: Readable, announced: number): Promise<Buffer>
  /** @throws ResidualError ENCODING_UNSUPPORTED, REQUEST_INVALID, REQUEST_TOO_LARGE, SERVER_BUSY */
  inflate(body: Buffer, encoding: string): Promise<Buffer>
  /** For good: what is still being read or inflated then ends with REQUEST_ABORTED. */
  release(): void
}

const inflaters: ReadonlyMap<string, () => Transform> = new Map([
  ['gzip', createGunzip],
  ['deflate', createInflate],
])

/** What a body may be packed with, as headers list it. */
export const contentEncodings = [...inflaters.keys()].join(', ')

/** All of a stream, unless `take` refuses a part of it. */
async function collect(stream: Readable, take: (bytes: number) => void): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    take(chunk.length)
    chunks.push(chunk)
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
}
