// Timing the algorithms for a convolution, on a plan of that convolution alone with made-up weights.
import { randomFillSync } from 'node:crypto'
import { type ConvOp, elements, inputShape, type Plan, planCost } from '../../model/plan.ts'
import type { PlanValue } from '../../model/value.ts'
import type { WeightSource } from '../../weights/source.ts'
import { loadWeights } from '../load-weights.ts'
import type { NativeAddon, NativeOptions } from '../native.ts'

const rounds = 7 // not counting the warm-up; the best counts, since disturbances only slow a run down
const mostInput = 16 << 20 // elements: no more images than this pass through an operation together
const mostRest = 32 << 20 // bytes: more than second-level caches hold
const name = 'timed'

/** A convolution and the names of its possible algorithms. */
export interface Candidates {
  /** Scales make no difference: {@link unscaled}. */
  readonly src: PlanValue
  readonly dst: PlanValue
  readonly op: Pick<ConvOp, 'kernel' | 'stride' | 'padding' | 'groups' | 'residual' | 'relu'>
  readonly algorithms: readonly string[]
}

/** A convolution ready to be timed. */
interface Timed {
  /** Resolves to the milliseconds of one batch. */
  run(): Promise<number>
  close(): void
}

/**
 * The best time of a batch in milliseconds, in the order of `all` and its algorithms. In a network an operation's weights are
 * no longer cached when its turn comes, since all other weights were read in between; so an equal amount is read between any two
 * runs.
 */
export async function timeAlgorithms(
  all: readonly Candidates[],
  network: Plan,
  batch: number,
  addon: NativeAddon,
  options: NativeOptions,
  signal?: AbortSignal,
): Promise<number[][]> {
  const open = (candidates: Candidates, algorithm: string, batch: number) =>
    openTimed(planOf(candidates), algorithm, batch, addon, options)
  const rest = await open(readerOf(Math.min(planCost(network).weightBytes, mostRest)), '', 1)
  try {
    const times: number[][] = []
    for (const candidates of all) {
      const images = Math.max(1, Math.min(batch, Math.floor(mostInput / elements(candidates.src))))
      const ways: Timed[] = []
      try {
        signal?.throwIfAborted()
        for (const algorithm of candidates.algorithms) ways.push(await open(candidates, algorithm, images))
        times.push(await leastOf(ways, rest))
      } finally {
        for (const way of ways) way.close()
      }
    }
    return times
  } finally {
    rest.close()
  }
}

/** In turn, so that disturbances hit all of them. */
async function leastOf(ways: readonly Timed[], rest: Timed): Promise<number[]> {
  const least = ways.map(() => Number.POSITIVE_INFINITY)
  for (let round = -1; round < rounds; round++)
    for (const [i, way] of ways.entries()) {
      await rest.run()
      const milliseconds = await way.run()
      if (round >= 0) least[i] = Math.min(least[i]!, milliseconds) // the first run allocates memory
    }
  return least
}

async function openTimed(
  plan: Plan,
  algorithm: string,
  batch: number,
  addon: NativeAddon,
  options: NativeOptions,
): Promise<Timed> {
  const algorithms = plan.ops.map(({ kind }) => (kind === 'conv' ? algorithm : ''))
  const session = new addon.NativeSession(plan, { ...options, algorithms })
  try {
    await loadWeights(plan, madeUp, session, 1)
  } catch (error) {
    session.dispose()
    throw error
  }
  const input = randomFillSync(new Uint8Array(batch * elements(inputShape(plan))))
  return {
    run: async () => (await session.profile(input)).at(-1)!,
    close: () => session.dispose(),
  }
}

/** A value as all operations that take equally long keep it. */
export function unscaled(value: PlanValue): PlanValue {
  return value.scale === undefined ? value : { ...value, scale: 1 }
}

/** The convolution is the last operation. Its residual, if any, is the result of another one like it. */
function planOf({ src: given, dst, op }: Candidates): Plan {
  // Normalising gives no int8, and uint8 is as fast.
  const src: PlanValue = given.scale === undefined ? given : { ...given, precision: 'uint8', scale: 1 }
  const { channels } = src
  const { kernel, stride, padding, groups, residual, relu } = op
  const first: ConvOp = {
    kind: 'conv',
    name,
    src: 0,
    dst: 1,
    kernel,
    stride,
    padding,
    groups,
    residual: null,
    relu,
    convName: name,
    batchNorm: null,
  }
  const ops = residual === null ? [first] : [first, { ...first, dst: 2, residual: 1 }]
  const unit = { mean: new Array(channels).fill(0.5), std: new Array(channels).fill(0.25) }
  return {
    name,
    values: [src, ...ops.map(() => dst)],
    ops: [{ kind: 'normalize', name: 'normalize', dst: 0, ...unit }, ...ops],
    outputs: { logits: ops.length, probabilities: ops.length },
  }
}

/** A convolution with weights of so many bytes that does little but read them. */
function readerOf(bytes: number): Candidates {
  const shape = (channels: number) => ({ height: 1, width: 1, channels })
  const inputs = 1024
  const op = { kernel: 1, stride: 1, padding: 0, groups: 1, residual: null, relu: false }
  const outputs = Math.ceil(bytes / Float32Array.BYTES_PER_ELEMENT / inputs)
  return { src: shape(inputs), dst: shape(outputs), op, algorithms: [''] }
}

/** Numbers that do not affect speed: neither tiny nor huge. */
const madeUp: WeightSource = {
  description: 'made-up weights',
  names: () => [],
  shape: () => undefined,
  read: async (_, into) => {
    const [numbers, period] = [into!, 256]
    for (let i = 0; i < Math.min(period, numbers.length); i++) numbers[i] = ((i * 37) % period) / period - 0.5
    for (let done = period; done < numbers.length; done *= 2) numbers.copyWithin(done, 0, done) // avoids a loop of 30 ms
    return numbers
  },
}
