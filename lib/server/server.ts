// How does a server live? It listens, becomes ready once its models are warm, and stops when what it accepted is done.
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { GrpcServer } from './grpc.ts'
import { createHttp } from './http.ts'
import { checkServeOptions, type ServeOptions } from './options.ts'
import { Service } from './service.ts'
import { startTracing } from './tracing.ts'

/** How long connections stay open for requests that are already on their way when the server is told to stop. */
const graceMs = 250

/**
 * Serves models over HTTP. Resolves once it listens and the models are warm; while they are not, `v2/health/ready` says so.
 *
 * @throws TypeError, RangeError for options that do not exist
 * @throws ResidualError what loading a model throws
 */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const service = new Service(checkServeOptions(options))
  const app = await createHttp(service)
  const server = new RunningServer(service, app)
  try {
    await server.open()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

/** Made by {@link serve}; listens until {@link stop}. */
export class RunningServer {
  readonly #service: Service
  readonly #app: FastifyInstance
  readonly #sockets = new Set<Socket>()
  #grpc: GrpcServer | undefined
  #endTracing: (() => Promise<void>) | undefined
  #stopped: Promise<boolean> | undefined

  /** For {@link serve}. */
  constructor(service: Service, app: FastifyInstance) {
    this.#service = service
    this.#app = app
    app.server.on('connection', socket => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  /** Where it listens, such as `http://127.0.0.1:8000`. */
  get url(): string {
    const { address, family, port } = this.#app.server.address() as AddressInfo
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  /** Where it listens for gRPC, if it does. */
  get grpcPort(): number | undefined {
    return this.#grpc?.port
  }

  /** Its log. */
  get log(): Pick<FastifyInstance['log'], 'info' | 'warn' | 'error'> {
    return this.#app.log
  }

  async open(): Promise<void> {
    const { host, port, grpcPort } = this.#service.options
    this.#endTracing = await startTracing(message => this.log.warn(message))
    await this.#app.listen({ host, port, listenTextResolver: address => `listening on ${address}` })
    if (grpcPort !== undefined) {
      const { startGrpc } = await import('./grpc.ts')
      this.#grpc = await startGrpc(this.#service, { host, port: grpcPort }, error => this.log.error(error))
      this.log.info({ port: this.#grpc.port }, 'listening for gRPC')
    }
    await this.#service.load()
    for (const name of this.#service.models.keys()) this.log.info({ model: name }, 'ready')
  }

  /**
   * Loads all models anew from their files, without losing a request. A model that cannot be loaded stays as it was.
   *
   * @throws ResidualError what loading a model throws
   */
  async reload(): Promise<void> {
    await this.#service.load()
    this.log.info({ models: [...this.#service.models.keys()] }, 'reloaded')
  }

  /**
   * Takes no more connections, answers what has been accepted, and frees everything. Resolves to whether all could be
   * answered in time; what could not has its connection closed.
   */
  stop(): Promise<boolean> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<unknown> {
    return this.stop()
  }

  async #stop(): Promise<boolean> {
    const { server } = this.#app
    const { drainMs } = this.#service.options
    this.#service.draining = true
    // The method of http.Server would cut connections on which a request may just be arriving.
    const closed = new Promise<boolean>(resolve =>
      NetServer.prototype.close.call(server, () => resolve(true)),
    )
    const late = new AbortController()
    const answered = await Promise.race([
      Promise.all([closed, this.#closeIdle(closed), this.#grpc?.stop()]).then(() => true),
      delay(drainMs, false, { signal: late.signal }),
    ])
    late.abort()
    if (!answered) {
      server.closeAllConnections()
      this.#grpc?.cut()
    }
    await closed
    await this.#app.close()
    await this.#service.close()
    await this.#endTracing?.()
    return answered
  }

  /** After a while, closes connections that carry no request, until all are closed. */
  async #closeIdle(closed: Promise<unknown>): Promise<void> {
    const { server } = this.#app
    let open = true
    void closed.then(() => {
      open = false
    })
    await Promise.race([closed, delay(graceMs, undefined, { ref: false })])
    while (open) {
      server.closeIdleConnections()
      // For Node, a connection is not idle before its first request.
      for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy()
      await Promise.race([closed, delay(graceMs)])
    }
  }
}
