// Request bodies: read whole, counted as they arrive against the limits of one request and of all.
import { IncomingMessage } from 'node:http'
import type { Readable, Transform } from 'node:stream'
import { createGunzip, createInflate } from 'node:zlib'
import { ResidualError } from '../../errors.ts'
import { invalid } from '../protocol/tensor-values.ts'
import { ByteCollector } from './byte-collector.ts'

/** The memory budget of all requests together. */
export class BodyBudget {
  #held = 0

  constructor(
    readonly bodyBytes: number,
    readonly heldBytes: number,
  ) {}

  /** The memory of one request, to be released once it is answered. */
  open(): HeldBody {
    let own = 0
    let released = false
    const tooLarge = () => {
      const message = `The body exceeds the limit of ${this.bodyBytes} bytes. Split the request.`
      return new ResidualError('REQUEST_TOO_LARGE', message)
    }
    const take = (bytes: number) => {
      if (released) throw new ResidualError('REQUEST_ABORTED', 'The client disconnected during its request.')
      if (own + bytes > this.bodyBytes) throw tooLarge()
      if (this.#held + bytes > this.heldBytes) {
        const message = `The server is busy: the requests in progress hold ${this.#held} bytes, limit ${this.heldBytes}. Try again later.`
        throw new ResidualError('SERVER_BUSY', message)
      }
      own += bytes
      this.#held += bytes
    }
    return {
      take,
      read: async (stream, announced) => {
        if (announced > this.bodyBytes) throw tooLarge() // before any of it is kept
        try {
          return await collect(stream, take, announced)
        } catch (cause) {
          if (cause instanceof ResidualError) throw cause
          throw new ResidualError('REQUEST_ABORTED', 'The client disconnected during its request.', { cause })
        }
      },
      inflate: async (body, encoding) => {
        const name = encoding.toLowerCase()
        if (name === 'identity') return body
        const inflater = inflaters.get(name)
        if (!inflater) {
          const message = `The content encoding '${encoding}' is not supported; supported are ${contentEncodings}.`
          throw new ResidualError('ENCODING_UNSUPPORTED', message)
        }
        try {
          const stream = inflater()
          stream.end(body)
          return await collect(stream, take) // counted as it grows: a small body can inflate to a large one
        } catch (error) {
          if (error instanceof ResidualError) throw error
          throw invalid(`The body is not valid ${encoding} data.`)
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
  /** Final: reading or inflating still in progress ends with REQUEST_ABORTED. */
  release(): void
}

const inflaters: ReadonlyMap<string, () => Transform> = new Map([
  ['gzip', createGunzip],
  ['deflate', createInflate],
])

/** The supported content encodings, as listed in headers. */
export const contentEncodings = [...inflaters.keys()].join(', ')

/** All of a stream of `announced` bytes, or 0 for unknown, unless `take` refuses a part of it. */
function collect(stream: Readable, take: (bytes: number) => void, announced = 0): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const collector = new ByteCollector(announced)
    const add = (part: Buffer) => {
      try {
        take(part.length)
      } catch (error) {
        if (stream instanceof IncomingMessage)
          stream.pause() // the connection is needed for the answer
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
    const cut = () => fail(new Error('The stream was truncated.'))
    stream.on('data', add).once('end', end).once('error', fail).once('close', cut)
    if (stream.destroyed) cut()
  })
}
