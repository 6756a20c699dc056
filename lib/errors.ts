// Error classes, error codes, and the wording of misuse errors.
import { shortened, shown } from './base/text.ts'

/** Every code a {@link ResidualError} can carry, with what it means. The one table: docs and C++ are tested against it. */
export const errorCodes = {
  ADDON_NOT_BUILT: 'The native addon is missing or cannot be loaded on this machine.',
  BACKEND_UNAVAILABLE: 'The device asked for cannot be had here.',
  CHECKPOINT_INVALID: 'The file is no well-formed checkpoint of a format that can be read.',
  CHECKPOINT_MISMATCH: 'The tensors of the checkpoint are not those of the network.',
  CHECKSUM_MISMATCH: 'The bytes that came are not those of the checkpoint that was asked for.',
  DEADLINE_EXCEEDED: 'The request was not done by its deadline.',
  DECODE_FAILED: 'The image cannot be decoded: not an image, truncated or damaged.',
  DEVICE_LOST: 'A fault on the GPU ended its use for this process.',
  DOWNLOAD_FAILED: 'The checkpoint could not be downloaded.',
  ENCODING_UNSUPPORTED: 'The body is packed in a way that the server does not unpack.',
  FILE_NOT_FOUND: 'There is no such file, or it cannot be read.',
  FILE_WRITE_FAILED: 'The file could not be written; what was there before is unchanged.',
  GPU_INVALID: 'The text does not describe a GPU that cuDNN could compile for.',
  INTERNAL: 'A check inside the addon failed. This is a bug in residual.',
  LISTEN_FAILED: 'The server cannot listen on that address and port.',
  METHOD_NOT_ALLOWED: 'The server has something at that path, but not for that method.',
  MODEL_INVALID: 'What lies beside the checkpoint is malformed or does not fit it.',
  MODEL_LOAD_FAILED: 'The server could not load a model anew; the one it had is still served.',
  MODEL_NOT_FOUND: 'There is neither a bundled model nor a file of that name.',
  MODEL_NOT_READY: 'The model is being loaded or warmed up, or the server is shutting down.',
  MODEL_NOT_SERVED: 'The server has no model of that name and version.',
  NON_FINITE: 'A tensor holds NaN or infinity.',
  OFFLINE: 'The checkpoint was not pulled before, and downloads are switched off.',
  OUT_OF_MEMORY: 'The memory asked for could not be had.',
  PATH_NOT_FOUND: 'The server has nothing at that path for that method.',
  PICTURE_TOO_LARGE: 'The image has more pixels than the limit allows.',
  PLAN_INVALID: 'The plan handed to the addon does not describe a network that can be run.',
  PRECISION_UNSUPPORTED: 'The GPU cannot compute in the precision asked for.',
  QUEUE_CLOSED: 'The queue takes no more requests: it is being closed.',
  QUEUE_FULL: 'As many images wait as may; the request was not accepted.',
  REQUEST_ABORTED: 'The client went away before its request was answered.',
  REQUEST_INVALID: 'The request is not what the protocol or the model asks for.',
  REQUEST_TOO_LARGE: 'The request is over a limit of the server.',
  SERVER_BUSY: 'The server holds as many bytes of requests as it may.',
  RESULTS_DIFFER:
    'Another engine computes something else from the same network: there is nothing to compare.',
  SESSION_CLOSED: 'The session was disposed of before the call.',
  TENSOR_NOT_FOUND: 'The checkpoint has no tensor of that name.',
} as const

export type ErrorCode = keyof typeof errorCodes

/** What prototypes of all copies of {@link ResidualError} have. */
const brand = Symbol.for('residual.ResidualError')

/**
 * What is thrown for everything but misuse; misuse is a `TypeError` or `RangeError` ({@link wrongType}, {@link outOfRange}).
 * Names and paths come from outside: the message is on one line and shows control characters, and what is too long in it is cut.
 */
/** By the codes of the system's errors. What Node says of them repeats the path, however long it is. */
const systemReasons: { readonly [code: string]: string } = {
  EACCES: 'there is no permission to read it',
  EISDIR: 'it is a folder',
  ELOOP: 'its links lead in a circle',
  EMFILE: 'this process has too many files open',
  ENAMETOOLONG: 'its name is too long to be one',
  ENOENT: 'does not exist',
  ENOTDIR: 'a part of its path is no folder',
  EPERM: 'there is no permission to read it',
}

/** Why the system refuses a file, in a few words. */
export function systemReason(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException
  return systemReasons[code ?? ''] ?? message
}

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

// Errors of another copy of this module are instances, too: test runners load one for every realm of theirs.
Object.defineProperty(ResidualError, Symbol.hasInstance, {
  value(this: unknown, value: unknown): boolean {
    if (this !== ResidualError) return Function.prototype[Symbol.hasInstance].call(this, value) // of a class that extends it
    return typeof value === 'object' && value !== null && brand in value
  },
})

/** The sentence of every misuse error: *Expected {what} for {name} but received {value}*. */
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
 * @throws RangeError otherwise, TypeError where it is no number
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

/** Its class, as far as it has one: objects without a prototype have none, and a proxy may refuse. */
function typeName(value: object): string {
  try {
    const name: unknown = value.constructor?.name
    return typeof name === 'string' && name !== '' ? name : 'Object'
  } catch {
    return 'Object'
  }
}

/** What a file holds, as JSON: short, however long or deep it is. */
export function quoted(value: unknown): string {
  try {
    const text = JSON.stringify(value) ?? 'nothing'
    return text.length > mostOfAValue ? `${text.slice(0, mostOfAValue - 3)}...` : text
  } catch {
    return 'a value that is nested too deeply' // to be written by recursion, as JSON.stringify does it
  }
}
