// Limits on request streams: each message counts from its first byte until its answer has been read.
import { constants, type ServerHttp2Stream } from 'node:http2'
import { ServerInterceptingCall, type ServerInterceptor, type status } from '@grpc/grpc-js'
import { ResidualError } from '../../errors.ts'
import type { HeldBody } from '../limits/body.ts'
import type { Service } from '../service.ts'
import { type Log, type Refuse, statusSent } from './limits.ts'
import { receiveMessages } from './messages.ts'

/** How long an idle stream may stay open. */
const quietMs = 300_000

/** A timer that can be restarted. */
class Alarm {
  #timer: NodeJS.Timeout | undefined

  set(ms: number, task: () => void): void {
    this.clear()
    this.#timer = setTimeout(task, ms).unref()
  }

  clear(): void {
    clearTimeout(this.#timer)
  }
}

/** The memory each message of a stream holds, to be released when it is answered. */
export const messageHeld = new WeakMap<object, HeldBody>()

/**
 * Counts the messages of a stream as they arrive, bounds the time for each to arrive and for each answer to be read, and writes
 * a line to the log once the stream has ended.
 */
export function limitStreams(service: Service, refuse: Refuse, log: Log): ServerInterceptor {
  const { requestTimeoutMs, bodyBytes } = service.options.limits
  return ({ path }, call) => {
    // As in limitCalls, but a stream whose bytes cannot be counted is refused.
    const { stream, incomingEncoding = 'identity' } = call as unknown as {
      stream?: ServerHttp2Stream
      incomingEncoding?: string
    }
    const client = new AbortController()
    const begin = performance.now()
    const underWay = new Set<HeldBody>()
    const arrived: HeldBody[] = [] // complete, and not yet handed on
    let messages = 0
    let sent: status | undefined

    const end = (error: unknown) => {
      if (sent !== undefined) return
      const refusal = refuse(error)
      sent = refusal.code
      call.sendStatus(refusal)
      // The rest is not needed; the status is sent after any answer in progress.
      const close = () => setImmediate(() => stream?.close(constants.NGHTTP2_NO_ERROR))
      if (stream?.headersSent) stream.once('wantTrailers', close)
      else close()
    }
    const [arrival, taking] = [new Alarm(), new Alarm()]
    const late = (ms: number, what: string) => () =>
      end(new ResidualError('DEADLINE_EXCEEDED', `${what} within ${ms} ms. Open another stream.`))
    const waitForNext = () => arrival.set(quietMs, late(quietMs, 'Nothing was sent'))
    if (!stream) {
      end(new ResidualError('PATH_NOT_FOUND', 'Streams are not supported with this version of grpc-js.'))
      return new ServerInterceptingCall(call)
    }
    waitForNext()
    let arriving: HeldBody | undefined
    receiveMessages(stream, {
      mostBytes: bodyBytes,
      several: true,
      open: () => {
        const held = service.bodies.open()
        arriving = held
        underWay.add(held)
        arrival.set(requestTimeoutMs, late(requestTimeoutMs, 'The message did not arrive'))
        return {
          take: bytes => {
            try {
              held.take(bytes)
            } catch (error) {
              end(error)
            }
            return sent === undefined
          },
          unpack: packed =>
            service.unpacking.run(() => held.inflate(packed, incomingEncoding), client.signal),
        }
      },
      whole: () => {
        arrived.push(arriving!)
        waitForNext()
      },
      fail: end,
    })
    stream.once('close', () => {
      arrival.clear()
      taking.clear()
      for (const held of underWay) held.release()
      client.abort(new ResidualError('REQUEST_ABORTED', 'The client disconnected during its stream.'))
      const ms = Number((performance.now() - begin).toFixed(2))
      log.info({ method: 'gRPC', path, status: sent ?? statusSent(stream), ms, messages }, 'request')
    })

    return new ServerInterceptingCall(call, {
      start: next =>
        next({
          onReceiveMessage: (received, next) => {
            messages++
            const held = arrived.shift()!
            messageHeld.set(received, {
              ...held,
              release: () => {
                underWay.delete(held)
                held.release()
              },
            })
            if (sent === undefined) next(received)
          },
        }),
      sendMessage: (message, next) => {
        // Answers are written one at a time, each once the previous one has been read.
        taking.set(requestTimeoutMs, () => {
          if (stream.writableLength > 0) stream.close(constants.NGHTTP2_CANCEL)
        })
        next(message)
      },
      sendStatus: (status, next) => {
        sent = status.code
        taking.set(requestTimeoutMs, () => stream.close(constants.NGHTTP2_CANCEL))
        next(status)
      },
    })
  }
}
