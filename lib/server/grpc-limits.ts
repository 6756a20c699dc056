// What keeps a client of gRPC within its limits? Connections and the bytes of messages are counted, and nothing may take for ever.
import { constants, type ServerHttp2Stream } from 'node:http2'
import { createServer, type Server as NetServer } from 'node:net'
import {
  type ConnectionInjector,
  ServerInterceptingCall,
  type ServerInterceptor,
  type StatusObject,
  status,
} from '@grpc/grpc-js'
import { type ErrorCode, ResidualError } from '../errors.ts'
import type { Service } from './service.ts'

/** Of grpc-js: who is not heard of is asked, and who asks for nothing is told to come again when there is something. */
export const connectionOptions = {
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 20_000,
  'grpc.max_connection_idle_ms': 300_000,
} as const

/** What takes connections, as many as there may be at a time, and hands them to `injector`. Those that say nothing are cut. */
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

/** How large a message was before it was read. */
export const messageBytes = new WeakMap<object, number>()

type Refuse = (error: ResidualError) => Partial<StatusObject> & Pick<StatusObject, 'code' | 'details'>

/**
 * Counts what each call holds until its client has its answer, and bounds the time for its message to arrive and for its
 * answer to be taken. `refuse` tells what a client is told of an error.
 */
export function limitCalls(service: Service, refuse: Refuse): ServerInterceptor {
  const { requestTimeoutMs } = service.options.limits
  return ({ path }, call) => {
    // grpc-js has no public way to the bytes as they arrive. Where this one is gone, messages are counted once they are whole.
    const { stream } = call as unknown as { stream?: ServerHttp2Stream }
    const held = service.bodies.open()
    const begin = performance.now()
    let arrived = 0
    let whole = false // a call that is cancelled ends as well
    let outcome: ErrorCode | 'answered' | undefined

    const end = (error: ResidualError) => {
      if (outcome !== undefined) return
      outcome = error.code
      call.sendStatus(refuse(error))
      setImmediate(() => stream?.close(constants.NGHTTP2_NO_ERROR)) // the rest of it is not wanted
    }
    const take = (bytes: number) => {
      try {
        held.take(bytes)
        arrived += bytes
      } catch (error) {
        end(error as ResidualError)
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
    stream?.on('data', (chunk: Buffer) => take(chunk.length))
    const closed = () => {
      clearTimeout(timer)
      held.release()
      if (outcome === 'answered' || !path.endsWith('/ModelInfer')) return
      const seconds = (performance.now() - begin) / 1000
      service.metrics.answered('grpc', '', seconds, outcome ?? refusedWith(stream))
    }
    stream?.once('close', closed)

    return new ServerInterceptingCall(call, {
      start: next =>
        next({
          onReceiveMessage: (message, next) => {
            take(Math.max(0, (messageBytes.get(message) ?? 0) - arrived)) // it may have been packed
            whole = true
            if (outcome === undefined) next(message)
          },
          onReceiveHalfClose: next => {
            clearTimeout(timer)
            if (whole) outcome ??= 'answered' // by the service, which counts it
            next()
          },
          onCancel: () => {
            if (!stream) closed() // the end of the call is all there is to know of it
          },
        }),
      sendStatus: (status, next) => {
        restart(() => stream?.close(constants.NGHTTP2_CANCEL)) // a client that does not take its answer
        next(status)
      },
    })
  }
}

/** Why a call came to nothing that grpc-js itself has refused. */
function refusedWith(stream: ServerHttp2Stream | undefined): ErrorCode {
  const sent = stream?.sentHeaders?.['grpc-status']
  if (Number(sent) === status.RESOURCE_EXHAUSTED) return 'REQUEST_TOO_LARGE'
  return sent === undefined || stream!.rstCode !== constants.NGHTTP2_NO_ERROR
    ? 'REQUEST_ABORTED'
    : 'REQUEST_INVALID'
}
