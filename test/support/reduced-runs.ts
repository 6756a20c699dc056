// Plans in fewer bits on every instruction set of this machine, and what they are compared with.
import { lower, type Network, type Plan, planCost } from '../../lib/index.ts'
import { operandsOf } from '../../lib/model/ops.ts'
import type { Shape } from '../../lib/model/plan.ts'
import type { Quantization, QuantizedValue } from '../../lib/model/quantization.ts'
import { loadWeights } from '../../lib/runtime/load-weights.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import type { WeightSource } from '../../lib/weights/source.ts'
import { goldenImages } from './golden.ts'
import { asFloats, type Numbers, runReduced } from './naive-int8.ts'

const addon = loadNative()
const kernelsOf = (isa: string) => addon.reducedKernels!(isa)

/** The instruction sets with kernels of their own, emulated ones of addons built with RESIDUAL_EMULATED_KERNELS included. */
export const isas: readonly string[] = [
  ...['amx', 'avx512vnni', 'avx512', 'avxvnni', 'avx2', 'i8mm', 'sdot', 'baseline'],
  ...['amx-emulated', 'avx512vnni-emulated', 'avxvnni-emulated'],
].filter(isAvailable)

/** Those of them with kernels for bf16. */
export const isasWithBF16 = isas.filter(isa => kernelsOf(isa).bf16 !== null)

// Emulated instructions take a thousand times as long as real ones.
const mostEmulatedFlops = 2e6

/** Those of some instruction sets that run a plan within seconds. */
export function fastEnough(sets: readonly string[], plan: Plan, batch: number): readonly string[] {
  const isSmall = batch * planCost(plan).flops <= mostEmulatedFlops
  return isSmall ? sets : sets.filter(isa => !isa.endsWith('-emulated'))
}

function isAvailable(isa: string): boolean {
  try {
    kernelsOf(isa)
    return true
  } catch {
    return false
  }
}

/** The plan of a network that normalises its image, and images' bytes for it. */
export function planAndBytes(network: Network, shape: Shape, batch: number) {
  const [mean, std] = [0.4, 0.25].map(number => Array<number>(shape.channels).fill(number))
  return {
    plan: lower(network, { ...shape, mean: mean!, std: std! }),
    bytes: Uint8Array.from(goldenImages(batch, shape), x => Math.min(Math.max(100 + 60 * x, 0), 255)),
  }
}

/** A scale for every value of a plan in float32: the largest numbers are beyond what it can stand for, which is `share` of them. */
export async function calibrated(
  plan: Plan,
  weights: WeightSource,
  bytes: Uint8Array,
  share = 0.9,
): Promise<Quantization> {
  const numbers = await runReduced(plan, { source: weights }, bytes)
  const values = plan.ops.map((op): [string, QuantizedValue] => {
    if (op.kind === 'normalize') return [op.name, { type: 'uint8', scale: 1 }]
    let largest = 0
    for (const x of numbers[op.dst]!) largest = Math.max(largest, Math.abs(x))
    const isPositive = op.kind === 'conv' && op.relu
    const scale = Math.fround((share * (largest || 1)) / (isPositive ? 255 : 127))
    return [op.name, { type: isPositive ? 'uint8' : 'int8', scale }]
  })
  return { values: Object.fromEntries(values), kept: {} }
}

/** Whether nothing that the feature maps depend on is computed in float32: they are the same to the bit everywhere. */
export function isInt8Throughout({ ops, values, outputs }: Plan): boolean {
  const isInt8 = (value: number) => ['int8', 'uint8'].includes(values[value]!.precision ?? 'fp32')
  const needed = new Set([outputs.featureMaps!])
  for (const op of [...ops].reverse())
    if (needed.has(op.dst)) for (const { index } of operandsOf(op)) needed.add(index)
  return [...needed].every(isInt8)
}

export interface ReducedOutputs {
  readonly featureMaps: Float32Array
  readonly logits: Float32Array
}

export interface NativeRun {
  readonly isa: string
  readonly threads: number
  /** The algorithm of every operation that has it, instead of the table's choice. */
  readonly algorithm?: string
}

export async function runNatively(
  plan: Plan,
  weights: WeightSource,
  bytes: Uint8Array,
  { algorithm, ...options }: NativeRun,
): Promise<ReducedOutputs> {
  const wanted = algorithm && {
    algorithms: algorithmsOf(plan, options).map(names => (names.includes(algorithm) ? algorithm : '')),
  }
  const session = new addon.NativeSession(plan, { ...options, ...wanted })
  await loadWeights(plan, weights, session, 1)
  const { featureMaps, logits } = await session.run(bytes, ['featureMaps', 'logits'])
  session.dispose()
  return { featureMaps: featureMaps!, logits: logits! }
}

/** By operation: the algorithms that it can be computed by. */
export function algorithmsOf(plan: Plan, options: { readonly isa: string; readonly threads: number }) {
  const session = new addon.NativeSession(plan, options)
  const names = session.algorithms()
  session.dispose()
  return names
}

/** What plain loops give, as float32. */
export async function runPlainly(
  plan: Plan,
  weights: WeightSource,
  bytes: Uint8Array,
): Promise<ReducedOutputs> {
  const numbers: readonly Numbers[] = await runReduced(plan, { source: weights }, bytes)
  const of = (value: number) => asFloats(numbers[value]!, plan.values[value]!)
  return { featureMaps: of(plan.outputs.featureMaps!), logits: of(plan.outputs.logits!) }
}

/** Where numbers differ first: a message of a line rather than of thousands. */
export function difference(actual: Float32Array, expected: Float32Array): string | undefined {
  const at = actual.findIndex((x, i) => !Object.is(x, expected[i]))
  return at < 0 ? undefined : `${actual[at]} instead of ${expected[at]} at ${at} of ${expected.length}`
}
