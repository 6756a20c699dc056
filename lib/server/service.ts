// What every request goes through, whatever its protocol: it finds its model, has a deadline, and is measured.

import { setMaxListeners } from 'node:events'
import { availableParallelism } from 'node:os'
import { TaskLimit } from '../base/task-limit.ts'
import { ResidualError } from '../errors.ts'
import type { SessionDevice } from '../runtime/session.ts'
import { ImageDecoder } from './inference/images.ts'
import { splitName } from './inference/signature.ts'
import { JsonParser } from './json/json-parser.ts'
import { BodyBudget } from './limits/body.ts'
import { within } from './limits/deadline.ts'
import { type LoadedModel, modelVersion, ServedModel } from './models/served-model.ts'
import type { CheckedServeOptions } from './options.ts'
import { errorAnswer } from './protocol/answers.ts'
import type { Done } from './protocol/request.ts'
import { deviceMemoryReader } from './telemetry/device-memory.ts'
import type { GaugeValue } from './telemetry/gauge-value.ts'
import { Metrics, type Protocol } from './telemetry/metrics.ts'
import { traced } from './telemetry/tracing.ts'

/** A request in progress: what it asks for, and its client. */
export interface Call {
  readonly protocol: Protocol
  /** The first model unless given. */
  readonly model?: string | undefined
  readonly version?: string | undefined
  /** Aborted when the client disconnects. */
  readonly client: AbortSignal
  /** Headers or metadata, which may name the parent span. */
  readonly carrier: object
}

/** What a parsed request asks for. */
export interface Asked {
  /** Less than the server's deadline, if the client asked for that. */
  readonly timeoutMs: number | undefined
}

export class Service {
  readonly metrics = new Metrics()
  /** Limits the decoding of images and decompression of bodies, so that a thread is left for computing. */
  readonly unpacking: TaskLimit
  readonly decoder: ImageDecoder
  readonly jsonParser: JsonParser
  /** The memory that all bodies and messages may hold. */
  readonly bodies: BodyBudget
  readonly models: ReadonlyMap<string, ServedModel>
  #deviceLost = false
  readonly #stopping = new AbortController()

  /** @throws ResidualError MODEL_NOT_FOUND, RangeError for models of the same name */
  constructor(readonly options: CheckedServeOptions) {
    const { batcher, decoders, instances, limits, modelOptions, session } = options
    setMaxListeners(0, this.stopping) // one for each open stream
    const models = new Map<string, ServedModel>()
    for (const source of options.models) {
      const model: ServedModel = new ServedModel(source, {
        instances,
        load: { ...session, ...modelOptions },
        batcher: {
          ...batcher,
          onBatch: batch => {
            this.metrics.batch(model.name, batch.images)
            model.statistics.batch(batch)
          },
        },
      })
      if (models.has(model.name))
        throw new RangeError(`Expected models of different names but received '${model.name}' twice`)
      models.set(model.name, model)
    }
    this.models = models
    this.unpacking = new TaskLimit(decoders, batcher.maxQueue)
    this.bodies = new BodyBudget(limits.bodyBytes, limits.heldBytes)
    this.jsonParser = new JsonParser(jsonThreads(), batcher.maxQueue)
    this.decoder = new ImageDecoder(this.unpacking, limits.pixelsPerPicture)
    this.metrics.gauge('queue_pictures', 'Images waiting for a batch.', ['model'], async () =>
      [...models.values()].map(({ name, waiting }) => ({ labels: { model: name }, value: waiting })),
    )
    this.metrics.gauge(
      'decode_queue_pictures',
      'Images and compressed bodies waiting to be decoded.',
      [],
      async () => [{ labels: {}, value: this.unpacking.waiting }],
    )
    this.metrics.gauge(
      'model_info',
      'Where a model runs, and what it computes in; always 1.',
      ['model', 'device', 'precision'],
      async () => [...models.values()].flatMap(({ name, device }) => infoOf(name, device)),
    )
    const deviceMemory = deviceMemoryReader()
    const help = 'Memory in use per GPU. On the CPU see process_resident_memory_bytes.'
    this.metrics.gauge('device_memory_bytes', help, ['index', 'name'], async () =>
      this.#onGpu ? deviceMemory() : [],
    )
  }

  /** Aborted when the server is told to stop: it is no longer ready, but answers requests that still arrive. */
  get stopping(): AbortSignal {
    return this.#stopping.signal
  }

  get draining(): boolean {
    return this.stopping.aborted
  }

  drain(): void {
    this.#stopping.abort()
  }

  /** Whether any model runs on a GPU. */
  get #onGpu(): boolean {
    return [...this.models.values()].some(({ device }) => device?.kind === 'cuda')
  }

  /** Whether the process is still useful: one that lost its GPU never gets it back. */
  get live(): boolean {
    return !this.#deviceLost
  }

  get ready(): boolean {
    return this.live && !this.draining && [...this.models.values()].every(model => model.ready)
  }

  /**
   * The model with that name, or with the part before `:INPUT`; the first if no name is given.
   *
   * @throws ResidualError MODEL_NOT_SERVED
   */
  find(name: string | undefined, version?: string): ServedModel {
    const model =
      name === undefined
        ? [...this.models.values()][0]!
        : (this.models.get(name) ?? this.models.get(splitName(name)?.model ?? ''))
    if (!model || (version !== undefined && version !== '' && version !== modelVersion)) {
      const served = [...this.models.keys()].join(', ')
      throw new ResidualError(
        'MODEL_NOT_SERVED',
        `Unknown model '${name}'${version ? `, version '${version}'` : ''}. The server has ${served}, each in version ${modelVersion}.`,
      )
    }
    return model
  }

  /**
   * Runs `read` to parse a request and `task` to answer it, both within its deadline.
   *
   * @throws ResidualError MODEL_NOT_SERVED, MODEL_NOT_READY, DEADLINE_EXCEEDED, REQUEST_ABORTED, or whatever either throws
   */
  async answer<Request extends Asked, T extends Done>(
    call: Call,
    read: (signal: AbortSignal) => Promise<Request>,
    task: (model: LoadedModel, request: Request, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { protocol, client, carrier } = call
    const begin = performance.now()
    let model: ServedModel | undefined
    let code: Parameters<Metrics['answered']>[2] = 'OK'
    try {
      const found = this.find(call.model, call.version)
      model = found
      const { deadlineMs } = this.options.limits
      const attributes = { 'residual.protocol': protocol, 'residual.model': found.name }
      const result = await traced('infer', carrier, attributes, () =>
        within(deadlineMs, client, async ({ signal, shorten }) => {
          const request = await read(signal)
          if (request.timeoutMs !== undefined) shorten(request.timeoutMs)
          return found.use(loaded => task(loaded, request, signal))
        }),
      )
      this.metrics.classified(found.name, result.images, result.timings)
      found.statistics.succeeded(performance.now() - begin, result)
      return result
    } catch (error) {
      code = errorAnswer(error).code
      if ((error as { code?: unknown }).code === 'DEVICE_LOST') this.#deviceLost = true
      model?.statistics.failed(performance.now() - begin)
      throw error
    } finally {
      this.metrics.answered(protocol, model?.name ?? '', code, (performance.now() - begin) / 1000)
    }
  }

  /** Loads or reloads all models, one after the other, and yields the outcome of each. */
  async *load(): AsyncGenerator<{ readonly model: string; readonly error?: unknown }> {
    for (const model of this.models.values())
      yield await model.load().then(
        () => ({ model: model.name }),
        (error: unknown) => ({ model: model.name, error }),
      )
  }

  async close(): Promise<void> {
    await Promise.all([this.jsonParser.close(), ...[...this.models.values()].map(model => model.close())])
  }
}

/** None until it has been loaded. */
function infoOf(model: string, device: SessionDevice | undefined): GaugeValue[] {
  if (!device) return []
  const name = device.kind === 'cuda' ? device.name : `CPU (${device.isa})`
  return [{ labels: { model, device: name, precision: device.precision }, value: 1 }]
}

/** In addition to the computing threads; one parses about 50 MB/s. */
const jsonThreads = () => Math.max(1, Math.min(4, availableParallelism() >> 1))
