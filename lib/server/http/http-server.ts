// The HTTP server: Fastify with our limits, bodies as bytes, errors as the protocol writes them.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { isatty } from 'node:tty'
import multipart from '@fastify/multipart'
import {
  type ConnectionError,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify'
import { type ErrorCode, ResidualError } from '../../errors.ts'
import { contentEncodings, type HeldBody } from '../limits/body.ts'
import { within } from '../limits/deadline.ts'
import type { Limits } from '../options.ts'
import { errorAnswer, retryAfterSeconds } from '../protocol/answers.ts'
import { restRoutes } from '../rest/routes.ts'
import type { Service } from '../service.ts'
import { logStream } from '../telemetry/log-stream.ts'
import { readableLine } from '../telemetry/log-text.ts'
import type { Protocol } from '../telemetry/metrics.ts'
import { classifyRoute } from './classify.ts'
import { watchMethods } from './methods.ts'
import { pageRoutes } from './page.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The memory its body holds. */
    held: HeldBody
    /** Aborted when the client disconnects before it has its answer. */
    client: AbortSignal
    /** Additional fields for its log line. */
    facts: object
    /** Whether the metrics count it, now or once it is answered. */
    counted: boolean
  }
  interface FastifyContextConfig {
    /** Set on routes whose requests are counted. */
    protocol?: Protocol
  }
}

const maxHeaderBytes = 16 * 2 ** 10
const stdout = 1
const keepAliveMs = 65_000 // longer than that of load balancers, so that they close first

/** How often slow requests are checked for. */
export const checkMs = ({ headersTimeoutMs }: Limits) => Math.min(1000, headersTimeoutMs)

/** An HTTP server for `service`, not yet listening. */
export async function createHttp(service: Service): Promise<FastifyInstance> {
  const { limits, logLevel } = service.options
  const app = fastify({
    logger:
      logLevel === 'silent'
        ? false
        : { level: logLevel, stream: isatty(stdout) ? logStream(readableLine) : logStream() },
    logController: new LogController({ disableRequestLogging: true }), // the log line per request is written below
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: keepAliveMs,
    return503OnClosing: false, // requests already received are answered
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 255 },
    http: {
      headersTimeout: limits.headersTimeoutMs,
      connectionsCheckingInterval: checkMs(limits),
      maxHeaderSize: maxHeaderBytes,
    },
    frameworkErrors: (error, request, reply) => sendError(service, error, request, reply),
    clientErrorHandler: (error, socket) => {
      // Complete requests on the connection are answered first, in order.
      const last = lastExchanges.get(socket)
      const answer = () => answerUnparsed(service, app.log, error, socket)
      if (last?.request.complete && !last.response.closed) last.response.once('close', answer)
      else answer()
    },
  })
  const lastExchanges = new WeakMap<Socket, { request: IncomingMessage; response: ServerResponse }>()
  app.server.on('request', (request, response) => lastExchanges.set(request.socket, { request, response }))
  app.server.maxConnections = limits.connections
  app.server.on('connection', socket => socket.setMaxListeners(0)) // one per pipelined request

  app.decorateRequest('held')
  app.decorateRequest('client')
  app.decorateRequest('facts')
  app.decorateRequest('counted', false)
  app.addHook('onRequest', async (request, reply) => {
    const { socket } = request.raw
    if (socket.writableEnded) socket.destroy() // it crossed with the closing of its connection
    request.held = service.bodies.open()
    request.client = whileConnected(request.raw, reply.raw, request.held)
    request.facts = {}
    reply.header('X-Content-Type-Options', 'nosniff')
  })
  app.addHook('onSend', async (request, reply) => {
    if (service.draining) reply.header('Connection', 'close')
    cutUnlessTaken(request.raw, reply.raw, limits.requestTimeoutMs)
  })
  app.addHook('onResponse', async (request, reply) => logRequest(request, reply))

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', async (request: FastifyRequest, payload: IncomingMessage) => {
    const { held, headers, client } = request
    const body = await held.read(payload, Number(headers['content-length'] ?? 0))
    const encoding = headers['content-encoding']
    if (encoding === undefined) return body
    return within(limits.deadlineMs, client, ({ signal }) =>
      service.unpacking.run(() => held.inflate(body, encoding), signal),
    )
  })
  await app.register(multipart, {
    limits: {
      files: limits.picturesPerRequest,
      fields: 1, // so that the error says that it is not a file
      fieldSize: 1024,
      parts: limits.picturesPerRequest,
      fileSize: limits.bodyBytes,
      headerPairs: 100,
    },
  })

  app.setErrorHandler((error, request, reply) => sendError(service, error, request, reply))
  app.setNotFoundHandler((request, reply) => {
    const message = `The server has nothing at ${request.method} ${request.url.split('?', 1)[0]}.`
    return sendError(service, new ResidualError('PATH_NOT_FOUND', message), request, reply)
  })
  const answerOtherMethods = watchMethods(app)
  restRoutes(app, service)
  classifyRoute(app, service)
  pageRoutes(app, service)
  answerOtherMethods()
  return app
}

/** Answers a client whose bytes are not a valid request: fastify has no reply object for this. */
function answerUnparsed(
  service: Service,
  log: FastifyBaseLogger,
  { code }: ConnectionError,
  socket: Socket,
): void {
  if (code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const status = unparsedStatuses[code] ?? 400
  const message = 'The request is not valid HTTP, arrived too slowly, or its headers are too long.'
  const answer = errorAnswer(new ResidualError('REQUEST_INVALID', message))
  service.metrics.error(answer.code)
  log.info({ status, code: answer.code, reason: code }, 'invalid request')
  const text = JSON.stringify({ error: answer.error })
  socket.write(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n` +
      `Residual-Error: ${answer.code}\r\nConnection: close\r\n\r\n${text}`,
  )
  socket.destroySoon() // a silent client does not close it either
}

/** Node's errors for bytes that never became a request. */
const unparsedStatuses: { readonly [code: string]: number } = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_HEADER_OVERFLOW: 431,
}

/** Aborted if the connection ends before the answer has been sent. Releases the body in any case. */
function whileConnected({ socket }: IncomingMessage, response: ServerResponse, held: HeldBody): AbortSignal {
  const controller = new AbortController()
  const end = () => {
    response.off('close', end)
    socket.off('close', end)
    held.release()
    if (response.writableFinished) return
    controller.abort(new ResidualError('REQUEST_ABORTED', 'The client disconnected before it was answered.'))
  }
  response.once('close', end)
  // A response queued behind an earlier one on its connection gets no event when the connection ends.
  socket.once('close', end)
  if (socket.destroyed) end()
  return controller.signal
}

/** Closes the connection of a client that does not read its answer, which would hold on to the request's memory. */
function cutUnlessTaken({ socket }: IncomingMessage, response: ServerResponse, ms: number): void {
  const timer = setTimeout(() => socket.destroy(), ms).unref()
  response.once('close', () => clearTimeout(timer))
}

function sendError(service: Service, error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const { status, code, error: text } = errorAnswer(error)
  service.metrics.error(code)
  countUnlessCounted(service, request, code)
  if (status === 500) request.log.error(error)
  request.facts = { ...request.facts, code }
  if (status === 503) reply.header('Retry-After', retryAfterSeconds)
  if (status === 415) reply.header('Accept-Encoding', contentEncodings)
  if (!request.raw.complete) reply.header('Connection', 'close') // the rest of the body will not be read
  reply.code(status).header('Residual-Error', code).type('application/json')
  return reply.send(Buffer.from(JSON.stringify({ error: text }))) // fastify would add a charset, which KServe's client takes for another type
}

/** Counts a request that failed before it reached the model, for example in its body. */
function countUnlessCounted(service: Service, request: FastifyRequest, code: ErrorCode): void {
  const { protocol } = request.routeOptions.config ?? {}
  if (!protocol || request.counted) return
  request.counted = true
  const { model = '' } = (request.params ?? {}) as { model?: string }
  service.metrics.answered(protocol, service.models.has(model) ? model : '', code)
}

function logRequest({ log, method, url, facts }: FastifyRequest, reply: FastifyReply): void {
  const ms = Number(reply.elapsedTime.toFixed(2))
  log.info({ method, path: url.split('?', 1)[0], status: reply.statusCode, ms, ...facts }, 'request')
}
