// Session options: defaults and validation.
import { availableParallelism } from 'node:os'
import { checkNames, checkSignal, type Names } from '../base/options.ts'
import { checkInteger, outOfRange, wrongType } from '../errors.ts'
import { cacheFolder } from '../files/cache-folder.ts'
import type { DeviceChoice } from './device.ts'

/** How a GPU keeps and multiplies numbers; sums are always float32. tf32 keeps float32 and multiplies ten bits of it. */
export const precisions = ['fp16', 'bf16', 'tf32', 'fp32'] as const
export type Precision = (typeof precisions)[number]

export interface SessionOptions {
  /** `auto` takes the best device there is and says in `session.device` which that was. */
  readonly device?: DeviceChoice
  /** CPU: threads that compute; all the process may use unless given. */
  readonly threads?: number
  /**
   * CPU: compute convolutions as sums of their products and nothing else. Otherwise those where it is faster go through
   * a transform (Winograd) that rounds more: logits within 1e-5 or so of the exact ones, relative to their norm. In networks of more
   * than 400 MB of weights they do so only where `autotune` has it, for the memory.
   */
  readonly exact?: boolean
  /** Batches larger than this are run in parts of at most this size. */
  readonly maxBatch?: number
  /** CUDA: which GPU, as the driver numbers them; 0 unless given. */
  readonly deviceIndex?: number
  /** CUDA: fp16 unless given. The CPU computes in float32 whatever is asked for. */
  readonly precision?: Precision
  /**
   * CUDA: the batch sizes that are compiled, each on first use; a batch is filled up to the next. Powers of two up to
   * `maxBatch`, and that, unless given; then the largest takes the place of `maxBatch`.
   */
  readonly batchSizes?: readonly number[]
  /**
   * Time the candidates for every convolution and keep the fastest, instead of believing cuDNN or, on the CPU, a fixed table. A GPU
   * does so on first use of a batch size, the CPU while the session is created and for batches of up to 8. What is chosen
   * waits in `planCache`. It depends on the machine, and with it the last bits of results; never on what is batched together.
   */
  readonly autotune?: boolean
  /** CUDA: replay the network as one captured graph; true unless given. False queues every kernel anew. */
  readonly cudaGraph?: boolean
  /**
   * The folder of compiled plans, and of what `autotune` chose on the CPU; null for none. Whoever can write to it decides what runs on
   * the GPU.
   */
  readonly planCache?: string | null
  /** Ends the creation of the session; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

export const sessionOptionNames = {
  device: true,
  threads: true,
  exact: true,
  maxBatch: true,
  deviceIndex: true,
  precision: true,
  batchSizes: true,
  autotune: true,
  cudaGraph: true,
  planCache: true,
  signal: true,
} as const satisfies Names<SessionOptions>

export const defaultMaxBatch = 32
const maxThreads = 1024
const largestBatchSize = 65536

/** All of them, with `batchSizes` ascending and distinct. */
export type CheckedOptions = Required<Omit<SessionOptions, 'planCache' | 'signal'>> & {
  readonly planCache: string | null
  readonly signal: AbortSignal | undefined
}

/** @throws TypeError, RangeError for options that do not exist */
export function checkOptions(options: SessionOptions): CheckedOptions {
  checkNames(options, sessionOptionNames)
  const signal = checkSignal(options.signal)
  const {
    device = 'auto',
    threads = availableParallelism(),
    exact = false,
    deviceIndex = 0,
    precision = 'fp16',
    autotune = false,
    cudaGraph = true,
    planCache = cacheFolder(),
  } = options
  checkInteger('threads', threads, 1, maxThreads)
  checkInteger('deviceIndex', deviceIndex, 0, 1023)
  for (const [name, value] of Object.entries({ exact, autotune, cudaGraph }))
    if (typeof value !== 'boolean') throw wrongType('a boolean', name, value)
  if (!precisions.includes(precision))
    throw outOfRange(`one of ${precisions.join(', ')}`, 'precision', precision)
  if (planCache !== null && typeof planCache !== 'string')
    throw wrongType('a folder or null', 'planCache', planCache)
  const maxBatch = checkInteger('maxBatch', options.maxBatch ?? defaultMaxBatch, 1)
  const batchSizes = checkBatchSizes(options.batchSizes ?? powersOfTwo(Math.min(maxBatch, largestBatchSize)))
  return {
    device,
    threads,
    exact,
    maxBatch,
    deviceIndex,
    precision,
    batchSizes,
    autotune,
    cudaGraph,
    planCache,
    signal,
  }
}

/** Ascending and distinct. */
function checkBatchSizes(sizes: readonly number[]): number[] {
  if (!Array.isArray(sizes) || sizes.length === 0)
    throw wrongType('an array of at least one number', 'batchSizes', sizes)
  for (const size of sizes) checkInteger('batchSizes', size, 1, largestBatchSize)
  return [...new Set(sizes)].sort((a, b) => a - b)
}

function powersOfTwo(max: number): number[] {
  const result: number[] = []
  for (let size = 1; size < max; size *= 2) result.push(size)
  return [...result, max]
}
