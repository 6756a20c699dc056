// Session options: defaults and validation.
import { availableParallelism } from 'node:os'
import { checkNames, checkSignal, type Names } from '../base/options.ts'
import { checkInteger, outOfRange, wrongType } from '../errors.ts'
import { cacheFolder } from '../files/cache-folder.ts'
import type { DeviceChoice } from './device.ts'

/**
 * How a GPU stores and multiplies numbers; sums are always float32. tf32 stores float32 and multiplies with a 10-bit mantissa.
 */
export const gpuPrecisions = ['fp16', 'bf16', 'tf32', 'fp32'] as const
export type GpuPrecision = (typeof gpuPrecisions)[number]

/** How the CPU does, the most bits first; sums of int8 are int32. */
export const cpuPrecisions = ['fp32', 'bf16', 'int8'] as const
export type CpuPrecision = (typeof cpuPrecisions)[number]

export const precisions = ['fp16', 'bf16', 'tf32', 'fp32', 'int8'] as const
export type Precision = (typeof precisions)[number]

export interface SessionOptions {
  /** `auto` chooses the best available device; `session.device` says which. */
  readonly device?: DeviceChoice
  /** CPU: number of threads; as many as the process may use unless given. */
  readonly threads?: number
  /**
   * CPU: compute convolutions as plain sums of products. Otherwise some use a faster transform (Winograd) that rounds more:
   * logits are within about 1e-5 of the exact ones, relative to their norm. In networks with more than 400 MB of weights only
   * `autotune` chooses it, because of its memory.
   */
  readonly exact?: boolean
  /** Larger batches are run in parts of at most this size. */
  readonly maxBatch?: number
  /** CUDA: index of the GPU in the driver's order; 0 unless given. */
  readonly deviceIndex?: number
  /**
   * What convolutions and linear operations compute in. A GPU: fp16 unless given, or bf16, tf32, fp32. The CPU: int8 for quantized
   * weights unless given, else fp32; or bf16. Where bf16 is not faster than fp32, the CPU computes in that, and `session.device`
   * has the reason.
   */
  readonly precision?: Precision
  /**
   * CUDA: the batch sizes to compile, each on first use; a batch is padded to the next size. By default powers of two up to
   * `maxBatch`, and `maxBatch` itself; if given, the largest replaces `maxBatch`.
   */
  readonly batchSizes?: readonly number[]
  /**
   * Time the candidates for every convolution and keep the fastest, instead of trusting cuDNN's heuristics or, on the CPU, a
   * fixed table. A GPU does so on first use of a batch size, the CPU while the session is created, with batches of up to 8.
   * Choices are stored in `planCache`. They depend on the machine, and so do the last bits of results, but never on which images
   * share a batch.
   */
  readonly autotune?: boolean
  /** CUDA: replay the network as one captured graph; true unless given. False queues every kernel anew. */
  readonly cudaGraph?: boolean
  /**
   * The folder for compiled plans, and for `autotune`'s choices on the CPU; null for none. Anyone who can write to it controls
   * what runs on the GPU.
   */
  readonly planCache?: string | null
  /** Cancels the creation of the session; the promise rejects with the signal's reason. */
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

/** All options, with `batchSizes` ascending and distinct. */
export type CheckedOptions = Required<Omit<SessionOptions, 'planCache' | 'signal' | 'precision'>> & {
  readonly planCache: string | null
  readonly precision: Precision | undefined
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
    precision,
    autotune = false,
    cudaGraph = true,
    planCache = cacheFolder(),
  } = options
  checkInteger('threads', threads, 1, maxThreads)
  checkInteger('deviceIndex', deviceIndex, 0, 1023)
  for (const [name, value] of Object.entries({ exact, autotune, cudaGraph }))
    if (typeof value !== 'boolean') throw wrongType('a boolean', name, value)
  if (precision !== undefined && !precisions.includes(precision))
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
