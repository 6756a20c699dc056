// Errors as gRPC statuses: a message, with the error code in the metadata.
import { Metadata, status } from '@grpc/grpc-js'
import type { ErrorCode } from '../../errors.ts'
import { errorAnswer } from '../protocol/answers.ts'
import type { Service } from '../service.ts'
import type { Log } from './limits.ts'

/** gRPC statuses of errors that clients can get; every other error is `INTERNAL`. */
const statuses: { readonly [code in ErrorCode]?: status } = {
  DEADLINE_EXCEEDED: status.DEADLINE_EXCEEDED,
  DECODE_FAILED: status.INVALID_ARGUMENT,
  ENCODING_UNSUPPORTED: status.UNIMPLEMENTED,
  INPUT_OUT_OF_RANGE: status.INVALID_ARGUMENT,
  MODEL_NOT_READY: status.UNAVAILABLE,
  MODEL_NOT_SERVED: status.NOT_FOUND,
  PATH_NOT_FOUND: status.NOT_FOUND,
  PICTURE_TOO_LARGE: status.INVALID_ARGUMENT,
  QUEUE_CLOSED: status.UNAVAILABLE,
  QUEUE_FULL: status.UNAVAILABLE,
  REQUEST_ABORTED: status.CANCELLED,
  REQUEST_INVALID: status.INVALID_ARGUMENT,
  REQUEST_TOO_LARGE: status.INVALID_ARGUMENT,
  SERVER_BUSY: status.UNAVAILABLE,
}

/** The status for the client. The error is counted, and logged if it is the server's own. */
export function statusOf({ metrics }: Service, error: unknown, log: Log) {
  const { code, error: details } = errorAnswer(error)
  metrics.error(code)
  const sent = statuses[code] ?? status.INTERNAL
  if (sent === status.INTERNAL) log.error(error)
  const metadata = new Metadata()
  metadata.set('residual-error', code)
  return { code: sent, details, metadata }
}
