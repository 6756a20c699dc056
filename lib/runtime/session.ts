// Sessions: weights are loaded once, batches run in turn, dispose frees the memory.
import { types } from 'node:util'
import { concat } from '../base/concat.ts'
import { checkNames, checkSignal, type Names } from '../base/options.ts'
import { median } from '../base/statistics.ts'
import { checkInteger, outOfRange, ResidualError, wrongType } from '../errors.ts'
import { checkPlan } from '../model/check-plan.ts'
import { elements, inputShape, type Op, type OutputName, outputNames, type Plan } from '../model/plan.ts'
import type { WeightSource } from '../weights/source.ts'
import { BatchSizes } from './batch-sizes.ts'
import { chooseForCpu } from './cpu-precision.ts'
import { resolveDevice } from './device.ts'
import { loadWeights, mostAtOnce } from './load-weights.ts'
import {
  type NativeOptions,
  type NativeSession,
  reducedKernels,
  translated,
  translatedLater,
  translateError,
} from './native.ts'
import {
  type CheckedOptions,
  type CpuPrecision,
  checkOptions,
  type GpuPrecision,
  gpuPrecisions,
  type SessionOptions,
} from './session-options.ts'
import { warnUnlessKept } from './tuning/algorithm-cache.ts'
import { cpuAutotune } from './tuning/cpu-autotune.ts'
import { Turns } from './turns.ts'

const partBatches = 8 // CUDA: batches passed to the addon per call, to overlap copying and computing

export interface RunOptions<Name extends OutputName> {
  /** The outputs to return; by default logits and, if the network pools, features. */
  readonly outputs?: readonly Name[]
  /** Cancels the run before it starts, or between the parts of a large batch; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

const runNames = { outputs: true, signal: true } as const satisfies Names<RunOptions<OutputName>>

/** Each output as a flat row-major array: logits and probabilities `[N,classes]`, features `[N,C]`, featureMaps `[N,H,W,C]`. */
export type Outputs<Name extends OutputName> = { readonly [name in Name]: Float32Array<ArrayBuffer> }

export interface ProfileOptions {
  /** Number of runs to take the median of, after a warm-up run; 10 unless given. */
  readonly runs?: number
  /** Cancels it before its next run; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

const profileNames = { runs: true, signal: true } as const satisfies Names<ProfileOptions>

/** The time of one operation of the plan. */
export interface OpTime {
  readonly name: string
  readonly kind: Op['kind']
  /** For the whole batch. 0 if it is computed along with another operation. */
  readonly milliseconds: number
}

/**
 * Prepares a plan to run: packs its weights for the device, a few operations at a time.
 *
 * @throws ResidualError PLAN_INVALID, BACKEND_UNAVAILABLE, ADDON_NOT_BUILT, OUT_OF_MEMORY, PRECISION_UNSUPPORTED, DEVICE_LOST,
 *   CHECKPOINT_MISMATCH for a quantization of another network, or whatever reading the weights throws; the signal's reason
 * @throws TypeError, RangeError for options that do not exist
 */
export async function createSession(
  plan: Plan,
  weights: WeightSource,
  options: SessionOptions = {},
): Promise<Session> {
  const checked = checkOptions(options)
  const { signal } = checked
  signal?.throwIfAborted()
  checkPlan(plan)
  const native = await openNative(plan, weights, checked)
  try {
    const atOnce = Math.min(checked.threads + 1, mostAtOnce) // one reads
    await loadWeights(native.plan, weights, native.session, atOnce, signal)
  } catch (error) {
    native.session.dispose()
    throw translateError(error)
  }
  return new Session(native.plan, native)
}

/** A native session and its properties. */
interface OpenNative {
  readonly session: NativeSession
  /** What it runs. */
  readonly plan: Plan
  readonly device: SessionDevice
  /** The most images per call. */
  readonly maxPart: number
  /** Runs that may be in progress together. */
  readonly concurrency: number
  /** Ascending; empty if batch sizes need no compilation. */
  readonly batchSizes: readonly number[]
}

async function openNative(given: Plan, weights: WeightSource, options: CheckedOptions): Promise<OpenNative> {
  const { backend, addon, reason } = await resolveDevice(options.device)
  const { autotune, planCache } = options
  if (backend === 'cpu') {
    const { threads, exact, maxBatch } = options
    const isAuto = options.device === 'auto'
    const chosen = chooseForCpu(given, weights, options.precision, isAuto, reducedKernels(addon))
    const { plan, ...precision } = chosen
    const native = { threads, exact, isa: process.env.RESIDUAL_CPU_ISA ?? '' }
    const algorithms =
      autotune && (await cpuAutotune.choose(addon, plan, native, maxBatch, planCache ?? '', options.signal))
    const all = { ...native, ...(algorithms && { algorithms }) }
    const session = translated(() => new addon.NativeSession(plan, all))
    const isa = session.description()
    const device = { kind: backend, isa, threads, ...precision, ...(reason && { reason }) }
    return { session, plan, device, maxPart: maxBatch, concurrency: 1, batchSizes: [] }
  }
  const { deviceIndex, precision = 'fp16', batchSizes, cudaGraph } = options
  if (precision === 'int8')
    throw new ResidualError(
      'PRECISION_UNSUPPORTED',
      `int8 is for the CPU; on a GPU there are ${gpuPrecisions.join(', ')}.`,
    )
  const native: NativeOptions = {
    deviceIndex,
    precision,
    batchSizes,
    autotune,
    cudaGraph,
    planCache: planCache ?? '',
  }
  if (autotune && planCache) await warnUnlessKept(planCache)
  const session = await translatedLater(() => addon.NativeSession.open(given, native))
  const device = { kind: backend, name: session.description(), index: deviceIndex, precision }
  const maxPart = batchSizes.at(-1)! * partBatches
  return { session, plan: given, device, maxPart, concurrency: 2, batchSizes }
}

export type SessionDevice =
  | {
      readonly kind: 'cpu'
      /** The instruction set in use. */
      readonly isa: string
      readonly threads: number
      readonly precision: CpuPrecision
      /** Why that is not the precision that was asked for. */
      readonly precisionReason?: string
      /** Why `device: 'auto'` did not choose a GPU. */
      readonly reason?: string
    }
  | {
      readonly kind: 'cuda'
      /** The GPU's name from the driver. */
      readonly name: string
      readonly index: number
      readonly precision: GpuPrecision
    }

/** A plan with its weights on a device. Made by {@link createSession}; open until {@link dispose}. */
export class Session {
  /** The device in use. */
  readonly device: SessionDevice
  /**
   * The CPU algorithm of each operation of the plan: 'direct', or 'winograd2' or 'winograd4', named after the tile size; null
   * for operations that are not sums of products, and on a GPU. In int8, where both give the same bits, small batches may be
   * computed directly for all that.
   */
  readonly algorithms: readonly (string | null)[]
  /** Runs that may be in progress together; more wait their turn. */
  readonly concurrency: number
  readonly #native: NativeSession
  readonly #maxPart: number
  readonly #batchSizes: BatchSizes
  readonly #turns: Turns
  /** Work that has not ended yet. */
  readonly #underWay = new Set<Promise<unknown>>()
  #closed: Promise<void> | undefined

  constructor(
    /** What is run: on the CPU, with values kept in the bits of its precision. */
    readonly plan: Plan,
    { session, device, maxPart, concurrency, batchSizes }: OpenNative,
  ) {
    this.device = device
    const names = session.algorithms()
    this.algorithms = plan.ops.map((_, op) => names[op]?.[0] ?? null)
    this.concurrency = concurrency
    this.#native = session
    this.#maxPart = maxPart
    this.#batchSizes = new BatchSizes(batchSizes, size => translatedLater(() => session.prepare(size)))
    this.#turns = new Turns(concurrency)
  }

  /**
   * Runs the network on a batch `[N,H,W,C]`: bytes, or normalised floats, which in int8 are turned into bytes. Runs execute one after another (on a GPU one run's
   * copies overlap another's computation, and a run whose batch size must be compiled first lets others pass), off the event loop;
   * `input` must not change until the promise settles. The caller owns the results.
   *
   * @throws ResidualError SESSION_CLOSED, OUT_OF_MEMORY, DEVICE_LOST, INPUT_OUT_OF_RANGE for floats in int8 that are not of bytes
   * @throws TypeError, RangeError for an input that is not a batch of the plan's shape, or outputs it does not have
   */
  async run<Name extends OutputName = 'logits' | 'features'>(
    input: Uint8Array | Float32Array,
    options: RunOptions<Name> = {},
  ): Promise<Outputs<Name>> {
    const batch = this.#checkInput(input)
    checkNames(options, runNames)
    const signal = checkSignal(options.signal)
    signal?.throwIfAborted()
    const outputs = checkOutputs(this.plan, options.outputs ?? (this.#defaultOutputs() as Name[]))
    const pixels = plainView(input)
    return this.#inTurn(outputs.length > 0 ? batch : null, async () => {
      const results = await this.#inParts(pixels, batch, signal, part => this.#native.run(part, outputs))
      if (results.length === 1) return results[0] as Outputs<Name>
      return Object.fromEntries(
        outputs.map(name => [name, concat(results.map(r => r[name]!))]),
      ) as Outputs<Name>
    })
  }

  /**
   * The time of each operation of the plan for a batch: medians of several runs, in the plan's order. Copying the batch and
   * the outputs is not included. `input` as for {@link run}.
   *
   * @throws ResidualError BACKEND_UNAVAILABLE on a GPU, where operations overlap; SESSION_CLOSED, OUT_OF_MEMORY
   * @throws TypeError, RangeError for an input that is not a batch of the plan's shape, or `runs` below 1
   */
  async profile(input: Uint8Array | Float32Array, options: ProfileOptions = {}): Promise<OpTime[]> {
    const batch = this.#checkInput(input)
    checkNames(options, profileNames)
    const { runs = 10 } = options
    const signal = checkSignal(options.signal)
    checkInteger('runs', runs, 1)
    const pixels = plainView(input)
    return this.#inTurn(null, async () => {
      const times: number[][] = this.plan.ops.map(() => [])
      for (let run = -1; run < runs; run++) {
        const parts = await this.#inParts(pixels, batch, signal, part => this.#native.profile(part))
        if (run < 0) continue // warm-up: memory was allocated and caches were cold
        for (const [op, all] of times.entries()) all.push(parts.reduce((sum, part) => sum + part[op]!, 0))
      }
      return this.plan.ops.map(({ name, kind }, op) => ({ name, kind, milliseconds: median(times[op]!) }))
    })
  }

  /** Waits for earlier runs, then frees all memory. Later runs are refused; calling it again does nothing. */
  dispose(): Promise<void> {
    this.#closed ??= Promise.all(this.#underWay).then(() => this.#native.dispose())
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** Starts `work` in its turn, once the plans for a batch of `images` are compiled, if it runs one. */
  #inTurn<Result>(images: number | null, work: () => Promise<Result>): Promise<Result> {
    const compiling = images === null ? undefined : this.#batchSizes.missing(images)
    const result = compiling ? compiling.then(() => this.#turns.take(work)) : this.#turns.take(work)
    const ended: Promise<unknown> = result.catch(() => {}).then(() => this.#underWay.delete(ended))
    this.#underWay.add(ended)
    return result
  }

  /** The results of `work` for each part of the batch. */
  async #inParts<Result>(
    input: Uint8Array | Float32Array,
    batch: number,
    signal: AbortSignal | undefined,
    work: (part: Uint8Array | Float32Array) => Promise<Result>,
  ): Promise<Result[]> {
    const perImage = elements(inputShape(this.plan))
    // The input was checked when it was passed; its owner may have transferred it since.
    if (input.length !== batch * perImage)
      throw outOfRange('as many elements as when it was passed', 'the input', `${input.length} elements`)
    const results: Result[] = []
    try {
      for (let begin = 0; begin < batch; begin += this.#maxPart) {
        signal?.throwIfAborted()
        const end = Math.min(begin + this.#maxPart, batch)
        results.push(await work(input.subarray(begin * perImage, end * perImage)))
      }
    } catch (error) {
      throw translateError(error)
    }
    return results
  }

  /** The number of images in an input; throws if the session is closed. */
  #checkInput(input: unknown): number {
    if (this.#closed) throw new ResidualError('SESSION_CLOSED', 'The session is closed. Create a new one.')
    const shape = inputShape(this.plan)
    const what = `a Uint8Array or Float32Array [N,${shape.height},${shape.width},${shape.channels}]`
    if (!(types.isUint8Array(input) || types.isFloat32Array(input))) throw wrongType(what, 'the input', input)
    const batch = input.length / elements(shape)
    if (batch < 1 || !Number.isInteger(batch)) throw outOfRange(what, 'the input', `${input.length} elements`)
    return batch
  }

  #defaultOutputs(): OutputName[] {
    return this.plan.outputs.features === undefined ? ['logits'] : ['logits', 'features']
  }
}

/**
 * A copy of the names, which their owner may change while a run waits.
 *
 * @throws TypeError, RangeError for names of outputs that the plan does not have
 */
export function checkOutputs<Name extends OutputName>(plan: Plan, outputs: readonly Name[]): readonly Name[] {
  if (!Array.isArray(outputs)) throw wrongType('an array of names', 'outputs', outputs)
  const known = outputNames.filter(name => plan.outputs[name] !== undefined)
  const copy: readonly Name[] = [...outputs]
  for (const name of copy)
    if (!known.includes(name)) throw outOfRange(`one of ${known.join(', ')}`, 'outputs', name)
  return copy
}

/** A plain view of the input, without a subclass's overrides; a copy if other threads may write to it while the run waits. */
function plainView(input: Uint8Array | Float32Array): Uint8Array | Float32Array {
  const { buffer, byteOffset, length } = input
  if (types.isUint8Array(input))
    return types.isSharedArrayBuffer(buffer)
      ? new Uint8Array(input)
      : new Uint8Array(buffer, byteOffset, length)
  return types.isSharedArrayBuffer(buffer)
    ? new Float32Array(input)
    : new Float32Array(buffer, byteOffset, length)
}
