// Saving a quantized network as safetensors: folded, with the weights of operations in int8 as integers and scales.
import { checkNames, type Names } from '../base/options.ts'
import type { Network } from '../model/graph.ts'
import type { Op } from '../model/ops.ts'
import type { Plan } from '../model/plan.ts'
import {
  type Quantization,
  type QuantizationMethod,
  quantizationKey,
  quantizationText,
} from '../model/quantization.ts'
import { ReducedValues } from '../model/reduced-values.ts'
import type { Kept } from '../model/value.ts'
import {
  type DeferredIntegers,
  type DeferredTensor,
  type WriteOptions,
  writeSafetensors,
} from './formats/safetensors/write.ts'
import { takesWeights, type WeightedOp } from './op-weights.ts'
import { foldedOp, foldingPlan, LastRead } from './save.ts'
import type { WeightSource } from './source.ts'
import { nearestIntegers, type QuantizedTensor, scaleName } from './tensors/quantized-tensor.ts'

export interface SaveQuantizedOptions extends Pick<WriteOptions, 'metadata' | 'signal'> {
  readonly quantization: Quantization
  /** What else the file is to say of the quantization. */
  readonly method?: QuantizationMethod
  /** By operation: the bias to write instead of the one that folding gives. */
  readonly biases?: ReadonlyMap<string, Float32Array>
  /** The integers for an operation's folded weights, `[K,...]`, by its name; the nearest ones unless given. */
  readonly integersOf?: (
    op: string,
    weight: Float32Array,
    channels: number,
  ) => QuantizedTensor | Promise<QuantizedTensor>
}

export const saveQuantizedNames = {
  metadata: true,
  signal: true,
  quantization: true,
  method: true,
  biases: true,
  integersOf: true,
} as const satisfies Names<SaveQuantizedOptions>

/**
 * Writes a network as {@link saveNetwork} does folded, but the weights of operations in int8 as integers, `NAME.weight`, with a
 * scale per output channel, `NAME.weight_scale`. Those that are multiplied by the image's bytes stay float32: they take in the
 * normalisation before they are rounded.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH for a quantization that is not of this network, or whatever reading the weights or
 *   {@link writeSafetensors} throws
 */
export async function saveQuantizedNetwork(
  path: string,
  network: Network,
  weights: WeightSource,
  options: SaveQuantizedOptions,
): Promise<void> {
  checkNames(options, saveQuantizedNames)
  const { quantization, method, biases, integersOf, metadata, signal } = options
  const [plan, last, lastRounded] = [foldingPlan(network), new LastRead(), new LastRead()]
  const choices = new ReducedValues(plan, { precision: 'int8', quantization, bf16: true })
  const inIntegers = integerOps(plan, choices)
  const tensors = plan.ops.filter(takesWeights).flatMap((op): (DeferredTensor | DeferredIntegers)[] => {
    const { shape, read } = foldedOp(plan, op, weights, last)
    const [name, perChannel] = [`${op.name}.weight`, shape.slice(0, 1)]
    const bias: DeferredTensor = {
      name: `${op.name}.bias`,
      shape: perChannel,
      read: async () => biases?.get(op.name) ?? (await read()).bias,
    }
    if (!inIntegers.has(op)) return [{ name, shape, read: async () => (await read()).weight }, bias]
    const round = async () => {
      const { weight } = await read()
      const [channels, least] = [
        shape[0]!,
        leastScales(await bias.read(), choices.keptAs('int8', op.src, op.name)),
      ]
      return (await integersOf?.(op.name, weight, channels)) ?? nearestIntegers(weight, channels, least)
    }
    const rounded = () => lastRounded.of(op, round)
    return [
      { name, shape, dtype: 'I8', read: async () => (await rounded()).integers },
      { name: scaleName(name), shape: perChannel, read: async () => (await rounded()).scales },
      bias,
    ]
  })
  await writeSafetensors(path, tensors, {
    metadata: { ...metadata, [quantizationKey]: quantizationText(quantization, method) },
    ...(signal && { signal }),
  })
}

/** The operations whose weights are integers in a file: those in int8 that do not read bytes. */
function integerOps(plan: Plan, { needs, kept }: ReducedValues): ReadonlySet<Op> {
  const image = plan.ops[0]!.dst
  const readsBytes = (op: WeightedOp) => op.src === image && kept[image]!.precision === 'uint8'
  return new Set(plan.ops.filter((op, i) => takesWeights(op) && needs[i] === 'int8' && !readsBytes(op)))
}

const mostStart = 2 ** 30 // of a sum, which has as much room for products above it

/** The scales with which sums can start at the biases, in multiples of the scale of what is read and the weights'. */
function leastScales(bias: Float32Array, { scale = 1 }: Kept): number[] {
  return Array.from(bias, number => Math.abs(number) / (scale * mostStart))
}
