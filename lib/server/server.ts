// The life of a server: it listens, becomes ready once its models are warm, and stops once accepted requests are done.
import { type AddressInfo, Server as NetServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { reducedKernels } from '../runtime/native.ts'
import { speedHints } from '../runtime/reduced-speed.ts'
import type { SessionDevice } from '../runtime/session.ts'
import type { GrpcServer } from './grpc/grpc-server.ts'
import { checkMs, createHttp } from './http/http-server.ts'
import { Connections } from './limits/connections.ts'
import { listenError } from './listen-error.ts'
import { checkServeOptions, type ServeOptions } from './options.ts'
import { Service } from './service.ts'
import { startTracing } from './telemetry/tracing.ts'

/**
 * Serves models over HTTP. Resolves once it listens and the models are warm; until then, `v2/health/ready` says that it is
 * not ready.
 *
 * @throws TypeError, RangeError for options that do not exist
 * @throws ResidualError LISTEN_FAILED, or whatever loading a model throws
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
  readonly #connections: Connections
  #grpc: GrpcServer | undefined
  #endTracing: (() => Promise<void>) | undefined
  #stopped: Promise<boolean> | undefined

  /** For {@link serve}. */
  constructor(service: Service, app: FastifyInstance) {
    this.#service = service
    this.#app = app
    this.#connections = new Connections(app.server)
  }

  /** Its URL, such as `http://127.0.0.1:8000`. */
  get url(): string {
    const { address, family, port } = this.#app.server.address() as AddressInfo
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  /** Its gRPC port, if it serves gRPC. */
  get grpcPort(): number | undefined {
    return this.#grpc?.port
  }

  /** The served models and their devices. The first is used for requests that name no model. */
  get models(): { readonly name: string; readonly device: SessionDevice | undefined }[] {
    return [...this.#service.models.values()].map(({ name, device }) => ({ name, device }))
  }

  /** How its models on the CPU could be faster, a sentence each. */
  get hints(): string[] {
    const devices = this.models.map(({ device }) => device)
    return devices.some(device => device?.kind === 'cpu') ? speedHints(reducedKernels(), devices) : []
  }

  /** Its log. */
  get log(): Pick<FastifyInstance['log'], 'info' | 'warn' | 'error'> {
    return this.#app.log
  }

  async open(): Promise<void> {
    const { host, port, grpcPort } = this.#service.options
    this.#endTracing = await startTracing(message => this.log.warn(message))
    // Requests that arrive meanwhile are told that the models are not ready.
    const listenTextResolver = (address: string) => `loading models for ${address}`
    await orListenError(this.#app.listen({ host, port, listenTextResolver }), host, port, '--port')
    if (grpcPort !== undefined) {
      const { startGrpc } = await import('./grpc/grpc-server.ts')
      const starting = startGrpc(this.#service, { host, port: grpcPort }, this.log)
      this.#grpc = await orListenError(starting, host, grpcPort, '--grpc-port')
    }
    for await (const { model, error } of this.#service.load()) {
      if (error !== undefined) throw error
      this.log.info({ model, ...deviceFacts(this.#service.models.get(model)?.device) }, 'ready')
    }
    for (const hint of this.hints) this.log.info(hint)
    this.log.info(`listening on ${this.url}`)
    if (this.#grpc) this.log.info({ port: this.#grpc.port }, 'listening for gRPC')
  }

  /**
   * Reloads all models from their files without losing a request. A model that cannot be reloaded stays as it was; the others
   * are reloaded all the same. If called again meanwhile, all are reloaded once more afterwards.
   *
   * @throws ResidualError the first model's error, once all have been tried
   */
  async reload(): Promise<void> {
    const failures: unknown[] = []
    for await (const { model, error } of this.#service.load()) {
      if (error === undefined) this.log.info({ model }, 'reloaded')
      else {
        failures.push(error)
        this.log.error({ model, err: error }, 'could not be reloaded and stays as it was')
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  /**
   * Stops accepting connections, answers the accepted requests, and frees everything. Resolves to whether all could be answered
   * in time; connections of the others are closed.
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
    const { drainMs, graceMs, limits } = this.#service.options
    const until = performance.now() + drainMs
    const quietMs = Math.min(graceMs, drainMs / 2) // ends in time if there is nothing to answer
    this.#service.drain()
    // A body that stops in the middle is answered as too slow while there is still time.
    const lastChanceMs = Math.max(1, drainMs - 2 * checkMs(limits))
    server.requestTimeout = Math.min(server.requestTimeout, lastChanceMs)
    server.headersTimeout = Math.min(server.headersTimeout, server.requestTimeout) // Node uses the longer one for the request
    // http.Server's own method would close connections on which a request may be arriving.
    const closed = new Promise<boolean>(resolve =>
      NetServer.prototype.close.call(server, () => resolve(true)),
    )
    const answered = await inTime(
      Promise.all([
        closed,
        this.#connections.closeQuiet(quietMs, limits.headersTimeoutMs),
        this.#grpc?.stop(),
      ]),
      until - performance.now(),
    )
    if (!answered) {
      server.closeAllConnections()
      this.#grpc?.cut()
    }
    await closed
    await this.#app.close()
    // Models still loading are freed once they are done, but stopping waits no longer for that than for a request.
    await inTime(Promise.all([this.#service.close(), this.#endTracing?.()]), until - performance.now())
    return answered
  }
}

/** What the log says of a model's device. */
function deviceFacts(device: SessionDevice | undefined) {
  if (!device) return {}
  const { kind, precision } = device
  if (kind === 'cuda') return { device: device.name, precision }
  const { isa, precisionReason } = device
  return { device: kind, isa, precision, ...(precisionReason !== undefined && { precisionReason }) }
}

/** The result of `listening`. @throws ResidualError LISTEN_FAILED */
async function orListenError<T>(
  listening: Promise<T>,
  host: string,
  port: number,
  portOption: string,
): Promise<T> {
  try {
    return await listening
  } catch (error) {
    throw listenError(error, host, port, portOption)
  }
}

/** Whether `work` finishes within `ms`. */
async function inTime(work: Promise<unknown>, ms: number): Promise<boolean> {
  const done = new AbortController()
  const late = delay(Math.max(0, ms), false, { signal: done.signal }).catch(() => false)
  try {
    return await Promise.race([work.then(() => true), late])
  } finally {
    done.abort()
  }
}
