// Limits on gRPC clients: connections and message bytes are counted, and everything times out.
import { constants, type ServerHttp2Stream } from 'node:http2'
import { createServer, type Server as NetServer } from 'node:net'
import {
  type ConnectionInjector,
  ServerInterceptingCall,
  type ServerInterceptor,
  type StatusObject,
  status,
} from '@grpc/grpc-js'
import type { FastifyBaseLogger } from 'fastify'
import { type ErrorCode, ResidualError } from '../../errors.ts'
import type { Service } from '../service.ts'
import { receiveMessages } from './messages.ts'

/** Options of grpc-js: silent clients are pinged, and idle ones are told to reconnect when they need to. */
export const connectionOptions = {
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 20_000,
  'grpc.max_connection_idle_ms': 300_000,
} as const

/** Accepts connections up to the limit and hands them to `injector`. Silent ones are closed. */
export function connectionListener(
  { options: { limits } }: Service,
  injector: ConnectionInjector,
): NetServer {
  const listener = createServer({ noDelay: true }, socket => {
    const timer = setTimeout(() => {
      if (socket.bytesRead === 0) socket.destroy()
    }, limits.headersTimeoutMs).unref()
    socket.once('close', () => clearTimeout(timer))
    injector.injectConnection(socket)
  })
  listener.maxConnections = limits.connections
  return listener
}

/** The size of a message before it was parsed. */
export const messageBytes = new WeakMap<object, number>()

/** Additional fields for the log line of a call's message. */
export const messageFacts = new WeakMap<object, object>()

export type Log = Pick<FastifyBaseLogger, 'info' | 'error'>
export type Refuse = (error: unknown) => Partial<StatusObject> & Pick<StatusObject, 'code' | 'details'>

/**
 * Counts the bytes each call holds until its client has its answer, bounds the time for its message to arrive and its answer to
 * be read, and writes a line to the log. `refuse` turns an error into a status for the client and counts it.
 */
export function limitCalls(service: Service, refuse: Refuse, log: Log): ServerInterceptor {
  const { requestTimeoutMs, bodyBytes } = service.options.limits
  return ({ path }, call) => {
    // grpc-js has no public access to bytes as they arrive. If this internal one is gone, messages are counted once they are complete.
    const { stream, incomingEncoding = 'identity' } = call as unknown as {
      stream?: ServerHttp2Stream
      incomingEncoding?: string
    }
    const held = service.bodies.open()
    const client = new AbortController()
    const begin = performance.now()
    let message: object | undefined // a cancelled call ends as well
    let outcome: ErrorCode | 'answered' | undefined
    let sent: status | undefined

    const end = (error: unknown) => {
      if (outcome !== undefined) return
      outcome = error instanceof ResidualError ? error.code : 'INTERNAL'
      const refusal = refuse(error)
      sent = refusal.code
      call.sendStatus(refusal)
      setImmediate(() => stream?.close(constants.NGHTTP2_NO_ERROR)) // the rest of it is not needed
    }
    const take = (bytes: number) => {
      try {
        held.take(bytes)
      } catch (error) {
        end(error)
      }
    }
    const late = () => {
      const message = `The message did not arrive within ${requestTimeoutMs} ms. Send it faster, or split it.`
      end(new ResidualError('DEADLINE_EXCEEDED', message))
    }
    const restart = (task: () => void) => {
      clearTimeout(timer)
      timer = setTimeout(task, requestTimeoutMs).unref()
    }
    let timer = setTimeout(late, requestTimeoutMs).unref()
    if (stream)
      receiveMessages(stream, {
        mostBytes: bodyBytes,
        several: false,
        open: () => ({
          take: bytes => {
            take(bytes)
            return outcome === undefined
          },
          unpack: packed =>
            service.unpacking.run(() => held.inflate(packed, incomingEncoding), client.signal),
        }),
        fail: end,
      })
    const closed = () => {
      clearTimeout(timer)
      held.release()
      client.abort(new ResidualError('REQUEST_ABORTED', 'The client disconnected during its request.'))
      const code = outcome ?? refusedWith(stream)
      const ms = Number((performance.now() - begin).toFixed(2))
      const facts = code === 'answered' ? message && messageFacts.get(message) : { code }
      log.info({ method: 'gRPC', path, status: sent ?? statusSent(stream), ms, ...facts }, 'request')
      if (code === 'answered' || !path.endsWith('/ModelInfer')) return
      if (outcome === undefined) service.metrics.error(code)
      service.metrics.answered('grpc', '', code)
    }
    stream?.once('close', closed)

    return new ServerInterceptingCall(call, {
      start: next =>
        next({
          onReceiveMessage: (received, next) => {
            if (!stream) take(messageBytes.get(received) ?? 0)
            message = received
            if (outcome === undefined) next(received)
          },
          onReceiveHalfClose: next => {
            clearTimeout(timer)
            if (message) outcome ??= 'answered' // the service counted it
            next()
          },
          onCancel: () => {
            if (!stream) closed() // nothing but the end of the call is observable
          },
        }),
      sendStatus: (status, next) => {
        sent = status.code
        restart(() => stream?.close(constants.NGHTTP2_CANCEL)) // the client does not read its answer
        next(status)
      },
    })
  }
}

export const statusSent = (stream: ServerHttp2Stream | undefined) => {
  const sent = (stream?.sentTrailers ?? stream?.sentHeaders)?.['grpc-status']
  return sent === undefined ? status.CANCELLED : Number(sent)
}

/** Why grpc-js itself refused a call. */
function refusedWith(stream: ServerHttp2Stream | undefined): ErrorCode {
  const sent = stream?.sentHeaders?.['grpc-status']
  if (Number(sent) === status.RESOURCE_EXHAUSTED) return 'REQUEST_TOO_LARGE'
  return sent === undefined || stream!.rstCode !== constants.NGHTTP2_NO_ERROR
    ? 'REQUEST_ABORTED'
    : 'REQUEST_INVALID'
}
