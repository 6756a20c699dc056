// What every request goes through, whatever its protocol: it finds its model, has a deadline, and is measured.

import { setMaxListeners } from 'node:events'
import { availableParallelism } from 'node:os'
import { TaskLimit } from '../base/task-limit.ts'
import { ResidualError } from '../errors.ts'
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
import { Metrics, type Protocol } from './telemetry/metrics.ts'
import { traced } from './telemetry/tracing.ts'

/** A request on its way: what it asks for, and who waits for it. */
export interface Call {
  readonly protocol: Protocol
  /** The first model unless given. */
  readonly model?: string | undefined
  readonly version?: string | undefined
  /** Aborted when the client goes away. */
  readonly client: AbortSignal
  /** Headers or metadata, which may name the span that this belongs to. */
  readonly carrier: object
}

/** What a request asks for, once it has been read. */
export interface Asked {
  /** Less than the server allows, if the client said so. */
  readonly timeoutMs: number | undefined
}

export class Service {
  readonly metrics = new Metrics()
  /** What is unpacked passes it: images and bodies. It takes threads, of which computing must find one. */
  readonly unpacking: TaskLimit
  readonly decoder: ImageDecoder
  readonly jsonParser: JsonParser
  /** What the bodies and messages of all requests may hold. */
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
    this.metrics.gauge('queue_pictures', 'Images that wait for a batch.', ['model'], async () =>
      [...models.values()].map(({ name, waiting }) => ({ labels: { model: name }, value: waiting })),
    )
    this.metrics.gauge(
      'decode_queue_pictures',
      'Images and packed bodies that wait to be decoded.',
      [],
      async () => [{ labels: {}, value: this.unpacking.waiting }],
    )
    const deviceMemory = deviceMemoryReader()
    const help = 'Memory in use per GPU. On the CPU see process_resident_memory_bytes.'
    this.metrics.gauge('device_memory_bytes', help, ['index', 'name'], async () =>
      this.#onGpu ? deviceMemory() : [],
    )
  }

  /** Aborted once the server is to stop: it is not ready any more, and answers what still comes. */
  get stopping(): AbortSignal {
    return this.#stopping.signal
  }

  get draining(): boolean {
    return this.stopping.aborted
  }

  drain(): void {
    this.#stopping.abort()
  }

  /** Whether a model computes on a GPU. */
  get #onGpu(): boolean {
    return [...this.models.values()].some(({ device }) => device?.kind === 'cuda')
  }

  /** Whether it is worth while to go on: no process gets back a GPU that it has lost. */
  get live(): boolean {
    return !this.#deviceLost
  }

  get ready(): boolean {
    return this.live && !this.draining && [...this.models.values()].every(model => model.ready)
  }

  /**
   * The model of that name, or of the one before `:INPUT`; the first if none is given.
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
        `There is no model '${name}'${version ? ` of version '${version}'` : ''}. The server has ${served}, each of version ${modelVersion}.`,
      )
    }
    return model
  }

  /**
   * Has `read` read a request and `task` answer it, both within its deadline.
   *
   * @throws ResidualError MODEL_NOT_SERVED, MODEL_NOT_READY, DEADLINE_EXCEEDED, REQUEST_ABORTED, or what either throws
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

  /** Loads all models, or loads them anew, one after the other, and tells what became of each. */
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

/** Beside the threads that compute; one reads some 50 MB/s. */
const jsonThreads = () => Math.max(1, Math.min(4, availableParallelism() >> 1))
