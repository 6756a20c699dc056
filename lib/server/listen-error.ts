// The error of a server that cannot listen on its address.
import { ResidualError } from '../errors.ts'

/** Causes and remedies by the system's error code. `%` stands for the port's option. */
const reasons: { readonly [code: string]: string } = {
  EADDRINUSE: 'another program is listening there. Stop it, or choose another port with %.',
  EACCES: 'only an administrator may use that port. Choose one above 1023 with %.',
  EADDRNOTAVAIL: 'this machine has no such address. Choose another with --host; 0.0.0.0 means all of them.',
  ENOTFOUND: 'the host name does not exist. Give an address of this machine with --host.',
  EAI_AGAIN: 'the host name could not be resolved. Give an address of this machine with --host.',
}

/** The error to report for a failure to listen: `error` itself if its code is not one of these. */
export function listenError(error: unknown, host: string, port: number, portOption: string): unknown {
  const { code } = error as { code?: unknown }
  if (typeof code !== 'string' || !Object.hasOwn(reasons, code)) return error
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const reason = reasons[code]!.replace('%', portOption)
  return new ResidualError('LISTEN_FAILED', `The server cannot listen on ${address}: ${reason}`, {
    cause: error,
  })
}
