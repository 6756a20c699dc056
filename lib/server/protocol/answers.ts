// Errors as answers: a status and the protocol's error object, without the server's internals.
import { type ErrorCode, ResidualError } from '../../errors.ts'

/** HTTP statuses of errors that clients can get. Every other error is the server's own: 500. */
const statuses: { readonly [code in ErrorCode]?: number } = {
  DEADLINE_EXCEEDED: 504,
  DECODE_FAILED: 400,
  ENCODING_UNSUPPORTED: 415,
  INPUT_OUT_OF_RANGE: 400,
  METHOD_NOT_ALLOWED: 405,
  MODEL_LOAD_FAILED: 500,
  MODEL_NOT_READY: 503,
  MODEL_NOT_SERVED: 404,
  PATH_NOT_FOUND: 404,
  PICTURE_TOO_LARGE: 413,
  QUEUE_CLOSED: 503,
  QUEUE_FULL: 503,
  REQUEST_ABORTED: 499, // nginx's status; only logs and metrics see it
  REQUEST_INVALID: 400,
  REQUEST_TOO_LARGE: 413,
  SERVER_BUSY: 503,
}

/** When to retry after a 503: a queue drains in about this time. */
export const retryAfterSeconds = 1

export interface ErrorAnswer {
  readonly status: number
  readonly code: ErrorCode
  /** For the body: a sentence with its code at the end. */
  readonly error: string
}

/** The answer to the client for `error`. */
export function errorAnswer(error: unknown): ErrorAnswer {
  const known = asKnown(error)
  const status = known && statuses[known.code]
  if (status === undefined) return answer(500, 'INTERNAL', 'Internal server error. See the server log.')
  return answer(status, known!.code, known!.message)
}

const answer = (status: number, code: ErrorCode, message: string) => ({
  status,
  code,
  error: `${shorten(message)} [${code}]`,
})

const longest = 500 // characters

/** Messages quote what a client sent, which may be very long; the actual problem is usually at the end. */
function shorten(message: string): string {
  if (message.length <= longest) return message
  return `${message.slice(0, longest / 2)}…${message.slice(-longest / 2)}`
}

/** Our own errors, and fastify's errors about requests in our words. */
function asKnown(error: unknown): ResidualError | undefined {
  if (error instanceof ResidualError) return error
  const { statusCode, code } = error as { statusCode?: unknown; code?: unknown }
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499) return undefined
  if (statusCode === 413)
    return new ResidualError(
      'REQUEST_TOO_LARGE',
      'The request has too many parts, or parts that are too large.',
    )
  return new ResidualError('REQUEST_INVALID', `The request is malformed (${code}).`)
}
