// The error of a server that cannot listen on its address.
import { ResidualError } from '../errors.ts'

/** By the system's code: what is wrong, and what to do. `%` stands for the option of the port. */
const reasons: { readonly [code: string]: string } = {
  EADDRINUSE: 'another program listens there. Stop it, or choose another port with %.',
  EACCES: 'only an administrator may use that port. Choose one above 1023 with %.',
  EADDRNOTAVAIL: 'this machine has no such address. Choose another with --host; 0.0.0.0 is all of them.',
  ENOTFOUND: 'there is no host of that name. Give an address of this machine with --host.',
  EAI_AGAIN: 'the name of the host could not be looked up. Give an address of this machine with --host.',
}

/** What failing to listen is to be told as: `error` itself where the system's code is none of these. */
export function listenError(error: unknown, host: string, port: number, portOption: string): unknown {
  const { code } = error as { code?: unknown }
  if (typeof code !== 'string' || !Object.hasOwn(reasons, code)) return error
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const reason = reasons[code]!.replace('%', portOption)
  return new ResidualError('LISTEN_FAILED', `The server cannot listen on ${address}: ${reason}`, {
    cause: error,
  })
}
