// Errors as answers: a status and the protocol's error object, without the server's internals.
import { type ErrorCode, ResidualError } from '../../errors.ts'

/** HTTP statuses of what a client can meet. Every other error is the server's own: 500. */
const statuses: { readonly [code in ErrorCode]?: number } = {
  DEADLINE_EXCEEDED: 504,
  DECODE_FAILED: 400,
  ENCODING_UNSUPPORTED: 415,
  METHOD_NOT_ALLOWED: 405,
  MODEL_LOAD_FAILED: 500,
  MODEL_NOT_READY: 503,
  MODEL_NOT_SERVED: 404,
  PATH_NOT_FOUND: 404,
  PICTURE_TOO_LARGE: 413,
  QUEUE_CLOSED: 503,
  QUEUE_FULL: 503,
  REQUEST_ABORTED: 499, // nginx's; nobody is there to read it, but logs and metrics
  REQUEST_INVALID: 400,
  REQUEST_TOO_LARGE: 413,
  SERVER_BUSY: 503,
}

/** When to try again after a 503: a queue is worked off in about that. */
export const retryAfterSeconds = 1

export interface ErrorAnswer {
  readonly status: number
  readonly code: ErrorCode
  /** Of the body: a sentence with its code at the end. */
  readonly error: string
}

/** What the client is told of `error`. */
export function errorAnswer(error: unknown): ErrorAnswer {
  const known = asKnown(error)
  const status = known && statuses[known.code]
  if (status === undefined) return answer(500, 'INTERNAL', 'The server failed. Its log says why.')
  return answer(status, known!.code, known!.message)
}

const answer = (status: number, code: ErrorCode, message: string) => ({
  status,
  code,
  error: `${shorten(message)} [${code}]`,
})

const longest = 500 // characters

/** Messages quote what a client sent, which may be very long; what is wrong with it mostly stands at their end. */
function shorten(message: string): string {
  if (message.length <= longest) return message
  return `${message.slice(0, longest / 2)}…${message.slice(-longest / 2)}`
}

/** Errors of ours, and those of fastify that are the client's doing, in our words. */
function asKnown(error: unknown): ResidualError | undefined {
  if (error instanceof ResidualError) return error
  const { statusCode, code } = error as { statusCode?: unknown; code?: unknown }
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499) return undefined
  if (statusCode === 413)
    return new ResidualError('REQUEST_TOO_LARGE', 'The request has more or larger parts than it may.')
  return new ResidualError('REQUEST_INVALID', `The request is malformed (${code}).`)
}
