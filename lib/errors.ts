// Error classes, error codes, and the wording of misuse errors.
import { shortened, shown } from './base/text.ts'

/** Every code a {@link ResidualError} can have, with its meaning. The one table: docs and C++ are tested against it. */
export const errorCodes = {
  ADDON_NOT_BUILT: 'The native addon is missing or cannot be loaded on this machine.',
  BACKEND_UNAVAILABLE: 'The requested device is unavailable.',
  CHECKPOINT_INVALID: 'The file is not a valid checkpoint of a supported format.',
  CHECKPOINT_MISMATCH: "The checkpoint's tensors do not match the network.",
  CHECKSUM_MISMATCH: 'The downloaded file does not have the expected SHA-256.',
  DEADLINE_EXCEEDED: 'The request was not finished by its deadline.',
  DECODE_FAILED: 'The image cannot be decoded: not an image, truncated or damaged.',
  DEVICE_LOST: 'A fault on the GPU ended its use for this process.',
  DOWNLOAD_FAILED: 'The checkpoint could not be downloaded.',
  ENCODING_UNSUPPORTED: 'The server does not support the content encoding of the body.',
  FILE_NOT_FOUND: 'The file does not exist or cannot be read.',
  FILE_WRITE_FAILED: 'The file could not be written; any previous file is unchanged.',
  GPU_INVALID: 'The text does not describe a GPU that cuDNN can compile for.',
  INPUT_OUT_OF_RANGE:
    'A number of the input does not stand for a byte, which is what the network takes in int8.',
  INTERNAL: 'A check inside the addon failed. This is a bug in residual.',
  LISTEN_FAILED: 'The server cannot listen on that address and port.',
  METHOD_NOT_ALLOWED: 'The path exists, but not for that method.',
  MODEL_INVALID: "The checkpoint's record, config or labels are malformed or do not fit it.",
  MODEL_LOAD_FAILED: 'The server could not reload a model; it still serves the one it had.',
  MODEL_NOT_FOUND: 'No bundled model, pulled model or file has that name.',
  MODEL_NOT_READY: 'The model is being loaded or warmed up, or the server is shutting down.',
  MODEL_NOT_SERVED: 'The server has no model of that name and version.',
  NON_FINITE: 'A tensor contains NaN or infinity.',
  OFFLINE: 'The checkpoint has not been pulled, and downloads are disabled.',
  OUT_OF_MEMORY: 'The requested memory could not be allocated.',
  PATH_NOT_FOUND: 'The server has nothing at that path.',
  PICTURE_TOO_LARGE: 'The image has more pixels than the limit allows.',
  PLAN_INVALID: 'The plan passed to the addon does not describe a network it can run.',
  PRECISION_UNSUPPORTED: 'The device does not support the requested precision.',
  QUEUE_CLOSED: 'The queue is closing and accepts no more requests.',
  QUEUE_FULL: 'The queue is full; the request was not accepted.',
  REQUEST_ABORTED: 'The client disconnected before its request was answered.',
  REQUEST_INVALID: 'The request does not conform to the protocol or to the model.',
  REQUEST_TOO_LARGE: 'The request exceeds a limit of the server.',
  SERVER_BUSY: 'The requests in progress already hold as much memory as the server allows.',
  RESULTS_DIFFER:
    'Another engine computes different results from the same network, so their speeds cannot be compared.',
  SESSION_CLOSED: 'The session was disposed of before the call.',
  TENSOR_NOT_FOUND: 'The checkpoint has no tensor of that name.',
} as const

export type ErrorCode = keyof typeof errorCodes

/** Marks the prototypes of all copies of {@link ResidualError}. */
const brand = Symbol.for('residual.ResidualError')

/** Reasons by the system's error codes. Node's own messages repeat the path, however long it is. */
const systemReasons: { readonly [code: string]: string } = {
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
  ELOOP: 'its symbolic links form a loop',
  EMFILE: 'this process has too many open files',
  ENAMETOOLONG: 'its name is too long',
  ENOENT: 'does not exist',
  ENOTDIR: 'part of its path is not a folder',
  EPERM: 'permission denied',
}

/** The system's reason for refusing a file, in a few words. */
export function systemReason(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException
  return systemReasons[code ?? ''] ?? message
}

/**
 * Every error but misuse; misuse is a `TypeError` or `RangeError` ({@link wrongType}, {@link outOfRange}). Names and paths come from
 * outside, so the message is on one line, shows control characters, and has anything too long cut.
 */
export class ResidualError extends Error {
  override readonly name = 'ResidualError'

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(shown(message), options)
  }
}

Object.defineProperty(ResidualError.prototype, brand, { value: true })

// Errors of another copy of this module count as instances: test runners load one copy per realm.
Object.defineProperty(ResidualError, Symbol.hasInstance, {
  value(this: unknown, value: unknown): boolean {
    if (this !== ResidualError) return Function.prototype[Symbol.hasInstance].call(this, value) // a subclass
    return typeof value === 'object' && value !== null && brand in value
  },
})

/** The message of every misuse error: *Expected {what} for {name} but received {value}*. */
function misuseMessage(what: string, name: string, value: unknown): string {
  return shown(`Expected ${what} for ${name} but received ${describe(value)}`)
}

/** A `TypeError` for an argument of the wrong kind. */
export function wrongType(what: string, name: string, value: unknown): TypeError {
  return new TypeError(misuseMessage(what, name, value))
}

/** A `RangeError` for an argument of the right kind outside what is allowed. */
export function outOfRange(what: string, name: string, value: unknown): RangeError {
  return new RangeError(misuseMessage(what, name, value))
}

/**
 * Returns `value` if it is an integer in `[min, max]`.
 *
 * @throws RangeError otherwise, TypeError if it is not a number
 */
export function checkInteger(
  name: string,
  value: unknown,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): number {
  const what =
    max === Number.MAX_SAFE_INTEGER ? `an integer of at least ${min}` : `an integer from ${min} to ${max}`
  if (typeof value !== 'number') throw wrongType(what, name, value)
  if (!Number.isSafeInteger(value) || value < min || value > max) throw outOfRange(what, name, value)
  return value
}

const mostOfAValue = 80 // characters

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(shortened(value, mostOfAValue))
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return `a value of type ${typeName(value)}`
  return shortened(String(value), mostOfAValue)
}

/** The name of its class, if any: objects without a prototype have none, and a proxy may refuse. */
function typeName(value: object): string {
  try {
    const name: unknown = value.constructor?.name
    return typeof name === 'string' && name !== '' ? name : 'Object'
  } catch {
    return 'Object'
  }
}

/** A value from a file, as short JSON however long or deep it is. */
export function quoted(value: unknown): string {
  try {
    const text = JSON.stringify(value) ?? 'nothing'
    return text.length > mostOfAValue ? `${text.slice(0, mostOfAValue - 3)}...` : text
  } catch {
    return 'a value nested too deeply to show' // for JSON.stringify, which recurses
  }
}
