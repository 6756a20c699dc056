// Server options: defaults and validation.
import { availableParallelism } from 'node:os'
import type { ModelOptions } from '../classifier.ts'
import { checkInteger, outOfRange, wrongType } from '../errors.ts'
import { maxPixels } from '../image/decode.ts'
import {
  type BatcherOptions,
  defaultMaxQueue,
  defaultMaxWaitMs,
} from '../runtime/batching/batcher-options.ts'
import { defaultMaxBatch, type SessionOptions } from '../runtime/session-options.ts'

/** Limits of the server. A request that exceeds one is answered with an error, and nothing of it is kept. */
export interface Limits {
  /** Largest request body, both as sent and inflated. */
  readonly bodyBytes: number
  /** Largest JSON in it: parsing delays all other requests. */
  readonly jsonBytes: number
  /** Limit of all bodies held at a time. */
  readonly heldBytes: number
  readonly pixelsPerPicture: number
  readonly picturesPerRequest: number
  readonly connections: number
  /** Time for the headers of a request to arrive. */
  readonly headersTimeoutMs: number
  /** Time for a whole request to arrive, and for its whole answer to be read. */
  readonly requestTimeoutMs: number
  /** Time from the arrival of a request to its answer; a request may ask for less. */
  readonly deadlineMs: number
}

export const defaultLimits: Limits = {
  bodyBytes: 32 * 2 ** 20,
  jsonBytes: 8 * 2 ** 20,
  heldBytes: 512 * 2 ** 20,
  pixelsPerPicture: 50_000_000,
  picturesPerRequest: 256,
  connections: 4096,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 25_000, // less than the drain time, so that the server stops in time whatever a client does
  deadlineMs: 30_000,
}

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** Options of models apply to each of them. */
export interface ServeOptions extends SessionOptions, ModelOptions, Omit<BatcherOptions, 'onBatch'> {
  /** Names of bundled or pulled models, or paths of checkpoints. Requests that name no model go to the first. */
  readonly models: readonly string[]
  /** The address to listen on; this machine only unless given. */
  readonly host?: string
  /** 0 for any free port. */
  readonly port?: number
  /** The port for the same protocol over gRPC; not served unless given. */
  readonly grpcPort?: number
  /** Sessions of each model. On the CPU they share the threads. */
  readonly instances?: number
  /** Images decoded at a time. */
  readonly decoders?: number
  readonly limits?: Partial<Limits>
  /** How long accepted requests may take to finish once the server is told to stop. */
  readonly drainMs?: number
  /**
   * How long an idle connection stays open once the server is told to stop, since the next request may be on its way. 1000
   * unless given.
   */
  readonly graceMs?: number
  /** Whether clients may reload models (`POST v2/repository/models/NAME/load`). */
  readonly repository?: boolean
  readonly logLevel?: LogLevel
}

export const defaultHost = '127.0.0.1'
export const defaultPort = 8000
export const defaultDrainMs = 30_000
const defaultGraceMs = 1000 // longer than most clients take between requests

export interface CheckedServeOptions {
  readonly models: readonly string[]
  readonly modelOptions: ModelOptions
  readonly host: string
  readonly port: number
  readonly grpcPort: number | undefined
  readonly instances: number
  readonly decoders: number
  readonly limits: Limits
  readonly drainMs: number
  readonly graceMs: number
  readonly repository: boolean
  readonly logLevel: LogLevel
  readonly session: SessionOptions
  readonly batcher: Required<Omit<BatcherOptions, 'onBatch'>>
}

const maxPort = 65_535
const maxInstances = 64
const maxDecoders = 1024
const longestTimeoutMs = 2 ** 31 - 1 // of Node's timers

/** @throws TypeError, RangeError for options that do not exist */
export function checkServeOptions(options: ServeOptions): CheckedServeOptions {
  const { models, host = defaultHost, repository = false, logLevel = 'info', port = defaultPort } = options
  const {
    grpcPort,
    drainMs = defaultDrainMs,
    graceMs = defaultGraceMs,
    limits = {},
    instances = 1,
    maxWaitMs = defaultMaxWaitMs,
  } = options
  const { maxBatch = defaultMaxBatch, maxQueue = defaultMaxQueue } = options
  if (!Array.isArray(models) || models.length === 0)
    throw wrongType('an array of at least one model', 'models', models)
  if (typeof host !== 'string') throw wrongType('an address', 'host', host)
  if (typeof repository !== 'boolean') throw wrongType('a boolean', 'repository', repository)
  if (!logLevels.includes(logLevel)) throw outOfRange(`one of ${logLevels.join(', ')}`, 'logLevel', logLevel)
  checkInteger('port', port, 0, maxPort)
  if (grpcPort !== undefined) checkInteger('grpcPort', grpcPort, 0, maxPort)
  checkInteger('instances', instances, 1, maxInstances)
  checkInteger('maxBatch', maxBatch, 1)
  checkInteger('maxQueue', maxQueue, 1)
  checkInteger('drainMs', drainMs, 0, longestTimeoutMs)
  checkInteger('graceMs', graceMs, 0, longestTimeoutMs)
  const threads = options.threads ?? Math.max(1, Math.floor(availableParallelism() / instances))
  return {
    models,
    modelOptions: modelOptionsIn(options),
    host,
    port,
    grpcPort,
    instances,
    decoders: checkInteger(
      'decoders',
      options.decoders ?? decodersBeside(instances * models.length),
      1,
      maxDecoders,
    ),
    limits: checkLimits(limits, maxQueue),
    drainMs,
    graceMs,
    repository,
    logLevel,
    session: { ...sessionOptions(options), threads, maxBatch },
    batcher: { maxBatch, maxQueue, maxWaitMs },
  }
}

/** The options of {@link openModel}, which checks them itself. */
function modelOptionsIn(options: ServeOptions): ModelOptions {
  const names = [
    'labels',
    'activation',
    'prefix',
    'preprocessing',
    'architecture',
  ] as const satisfies (keyof ModelOptions)[]
  return given(options, names)
}

/** The options of a session, which checks them itself. */
function sessionOptions(options: ServeOptions): SessionOptions {
  const names = [
    'device',
    'exact',
    'deviceIndex',
    'precision',
    'batchSizes',
    'autotune',
    'cudaGraph',
    'planCache',
  ] as const satisfies (keyof SessionOptions)[]
  return given(options, names)
}

function given<Name extends keyof ServeOptions>(
  options: ServeOptions,
  names: readonly Name[],
): { [name in Name]?: ServeOptions[name] } {
  return Object.fromEntries(
    names.flatMap(name => (options[name] === undefined ? [] : [[name, options[name]]])),
  ) as { [name in Name]?: ServeOptions[name] }
}

function checkLimits(given: Partial<Limits>, maxQueue: number): Limits {
  const limits = { ...defaultLimits, ...given }
  const most: Partial<Limits> = { pixelsPerPicture: maxPixels, bodyBytes: 2 ** 31 - 1, jsonBytes: 2 ** 29 }
  for (const [name, value] of Object.entries(limits)) {
    if (!Object.hasOwn(defaultLimits, name))
      throw outOfRange(`one of ${Object.keys(defaultLimits)}`, 'limits', name)
    checkInteger(name, value, 1, most[name as keyof Limits] ?? longestTimeoutMs)
  }
  if (limits.bodyBytes > limits.heldBytes)
    // a body of that size would always be told to try again later
    throw outOfRange(`at most heldBytes (${limits.heldBytes})`, 'bodyBytes', limits.bodyBytes)
  // A larger request would always be refused, as if trying again could help.
  return { ...limits, picturesPerRequest: Math.min(limits.picturesPerRequest, maxQueue) }
}

/** Decoding and computing use the same thread pool: decoding must never occupy all of it. */
function decodersBeside(sessions: number): number {
  const poolThreads = Number(process.env.UV_THREADPOOL_SIZE) || 4
  return Math.max(1, Math.min(availableParallelism(), poolThreads - sessions - 1))
}
