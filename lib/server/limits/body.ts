// Request bodies: read whole, counted as they arrive against the limits of one request and of all.
import { IncomingMessage } from 'node:http'
import type { Readable, Transform } from 'node:stream'
import { createGunzip, createInflate } from 'node:zlib'
import { ResidualError } from '../../errors.ts'
import { invalid } from '../protocol/tensor-values.ts'
import { ByteCollector } from './byte-collector.ts'

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
          return await collect(stream, take, announced)
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

/** All of a stream, unless `take` refuses a part of it; of `announced` bytes, or 0 for unknown. */
function collect(stream: Readable, take: (bytes: number) => void, announced = 0): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const collector = new ByteCollector(announced)
    const add = (part: Buffer) => {
      try {
        take(part.length)
      } catch (error) {
        if (stream instanceof IncomingMessage)
          stream.pause() // its connection is needed for the answer
        else stream.destroy()
        return fail(error)
      }
      collector.add(part)
    }
    const end = () => {
      stream.off('close', cut)
      resolve(collector.whole())
    }
    const fail = (error: unknown) => {
      stream.off('data', add).off('end', end)
      reject(error)
    }
    const cut = () => fail(new Error('The stream was cut before its end.'))
    stream.on('data', add).once('end', end).once('error', fail).once('close', cut)
    if (stream.destroyed) cut()
  })
}
