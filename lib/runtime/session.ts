// How is a plan run? Through a session: weights loaded once, batches run in turn, memory given back on dispose.
import { availableParallelism } from 'node:os'
import { checkInteger, outOfRange, ResidualError, wrongType } from '../errors.ts'
import { elements, inputShape, type OutputName, outputNames, type Plan } from '../model/plan.ts'
import { readOpWeights, takesWeights } from '../weights/op-weights.ts'
import type { WeightSource } from '../weights/source.ts'
import { type DeviceChoice, resolveDevice } from './device.ts'
import { loadNative, type NativeSession, translateError } from './native.ts'

export interface SessionOptions {
  /** `auto` takes the best device there is and says in `session.device` which that was. */
  readonly device?: DeviceChoice
  /** CPU: threads that compute; all the process may use unless given. */
  readonly threads?: number
  /**
   * CPU: compute convolutions as sums of their products and nothing else. Otherwise those where it is faster go through
   * a transform (Winograd) that rounds more: logits within 1e-5 or so of the exact ones, relative to their norm.
   */
  readonly exact?: boolean
  /** Batches larger than this are run in parts of at most this size. */
  readonly maxBatch?: number
}

export const defaultMaxBatch = 32
const maxThreads = 1024

export interface RunOptions<Name extends OutputName> {
  /** What to return; logits and, if the network pools, features unless given. */
  readonly outputs?: readonly Name[]
}

/** Each output flat, row-major: logits and probabilities `[N,classes]`, features `[N,C]`, featureMaps `[N,H,W,C]`. */
export type Outputs<Name extends OutputName> = { readonly [name in Name]: Float32Array<ArrayBuffer> }

/**
 * Makes a plan ready to run: packs its weights for the device, reading one operation's tensors at a time.
 *
 * @throws ResidualError BACKEND_UNAVAILABLE, ADDON_NOT_BUILT, OUT_OF_MEMORY, or what reading the weights throws
 * @throws TypeError, RangeError for options that do not exist
 */
export async function createSession(
  plan: Plan,
  weights: WeightSource,
  options: SessionOptions = {},
): Promise<Session> {
  const {
    device = 'auto',
    threads = availableParallelism(),
    exact = false,
    maxBatch = defaultMaxBatch,
  } = options
  resolveDevice(device)
  checkInteger('threads', threads, 1, maxThreads)
  checkInteger('maxBatch', maxBatch, 1)
  if (typeof exact !== 'boolean') throw wrongType('a boolean', 'exact', exact)
  const native = translated(() => {
    const addon = loadNative()
    return new addon.NativeSession(plan, { threads, exact, isa: process.env.RESIDUAL_CPU_ISA ?? '' })
  })
  try {
    let packed: Promise<void> | undefined
    for (const [index, op] of plan.ops.entries()) {
      if (!takesWeights(op)) continue
      const { weight, bias } = await readOpWeights(plan, op, weights)
      await packed
      packed = native.loadWeights(index, weight, bias) // while the next operation's tensors are read
      packed.catch(() => {}) // it is awaited above or below, unless reading throws first
    }
    await packed
  } catch (error) {
    native.dispose()
    throw translateError(error)
  }
  return new Session(plan, native, threads, maxBatch)
}

/** A plan with its weights on a device. Made by {@link createSession}; open until {@link dispose}. */
export class Session {
  /** What computes: `cpu` and the instruction set in use. */
  readonly device: { readonly kind: 'cpu'; readonly isa: string; readonly threads: number }
  readonly #native: NativeSession
  readonly #maxBatch: number
  #closed: Promise<void> | undefined
  #lastRun: Promise<unknown> = Promise.resolve()

  constructor(
    readonly plan: Plan,
    native: NativeSession,
    threads: number,
    maxBatch: number,
  ) {
    this.#native = native
    this.#maxBatch = maxBatch
    this.device = { kind: 'cpu', isa: native.description(), threads }
  }

  /**
   * Runs the network on a batch `[N,H,W,C]`: bytes, or floats that are normalised already. Runs are executed one after
   * another, off the event loop; `input` must stay as it is until the promise settles. The results are the caller's.
   *
   * @throws ResidualError SESSION_CLOSED, OUT_OF_MEMORY
   * @throws TypeError, RangeError for an input that is no batch of the plan's shape, or outputs it does not have
   */
  async run<Name extends OutputName = 'logits' | 'features'>(
    input: Uint8Array | Float32Array,
    options: RunOptions<Name> = {},
  ): Promise<Outputs<Name>> {
    if (this.#closed) throw new ResidualError('SESSION_CLOSED', 'The session is closed. Create another one.')
    const batch = this.#checkInput(input)
    const outputs = (options.outputs ?? this.#defaultOutputs()) as readonly Name[]
    this.#checkOutputs(outputs)
    // Copied: the addon cannot hold memory that other threads may write.
    const pixels = input.buffer instanceof SharedArrayBuffer ? input.slice() : input
    const result = this.#lastRun.then(() => this.#runParts(pixels, batch, outputs))
    this.#lastRun = result.catch(() => {})
    return result
  }

  /** Waits for the runs begun before, then frees all memory. Later runs are refused; calling it again does nothing. */
  dispose(): Promise<void> {
    this.#closed ??= this.#lastRun.then(() => this.#native.dispose())
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  async #runParts<Name extends OutputName>(
    input: Uint8Array | Float32Array,
    batch: number,
    outputs: readonly Name[],
  ): Promise<Outputs<Name>> {
    const perPicture = elements(inputShape(this.plan))
    // It was checked when the run was asked for; its owner may have transferred it since.
    if (input.length !== batch * perPicture)
      throw outOfRange('as many as at the call', 'elements in the input', input.length)
    const parts = Math.ceil(batch / this.#maxBatch)
    const results: { [name in OutputName]?: Float32Array<ArrayBuffer> }[] = []
    try {
      for (let begin = 0; begin < batch; begin += this.#maxBatch) {
        const end = Math.min(begin + this.#maxBatch, batch)
        results.push(await this.#native.run(input.subarray(begin * perPicture, end * perPicture), outputs))
      }
    } catch (error) {
      throw translateError(error)
    }
    if (parts === 1) return results[0] as Outputs<Name>
    return Object.fromEntries(
      outputs.map(name => [name, concat(results.map(r => r[name]!))]),
    ) as Outputs<Name>
  }

  #checkInput(input: unknown): number {
    const shape = inputShape(this.plan)
    const what = `a Uint8Array or Float32Array [N,${shape.height},${shape.width},${shape.channels}]`
    if (!(input instanceof Uint8Array || input instanceof Float32Array))
      throw wrongType(what, 'the input', input)
    const batch = input.length / elements(shape)
    if (batch < 1 || !Number.isInteger(batch)) throw outOfRange(what, 'the input', `${input.length} elements`)
    return batch
  }

  #defaultOutputs(): OutputName[] {
    return this.plan.outputs.features === undefined ? ['logits'] : ['logits', 'features']
  }

  #checkOutputs(outputs: readonly OutputName[]): void {
    const known = outputNames.filter(name => this.plan.outputs[name] !== undefined)
    if (!Array.isArray(outputs)) throw wrongType('an array of names', 'outputs', outputs)
    for (const name of outputs)
      if (!known.includes(name)) throw outOfRange(`one of ${known.join(', ')}`, 'outputs', name)
  }
}

function translated<T>(body: () => T): T {
  try {
    return body()
  } catch (error) {
    throw translateError(error)
  }
}

function concat(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const result = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    result.set(part, at)
    at += part.length
  }
  return result
}
