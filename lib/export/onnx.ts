// Export to ONNX: a network as it was defined, layer by layer, or as it runs, with batch norms folded.
import { checkNames } from '../base/options.ts'
import { outOfRange, ResidualError } from '../errors.ts'
import type { Activation } from '../model/activation.ts'
import type { Network } from '../model/graph.ts'
import { parametersOf } from '../model/parameters.ts'
import type { Plan } from '../model/plan.ts'
import { sources } from '../model/uses.ts'
import { activationKey } from '../weights/checkpoint/checkpoint.ts'
import { takesWeights } from '../weights/op-weights.ts'
import type { WeightSource } from '../weights/source.ts'
import { activated, byTable, flatten, fullyConnected, node, windows } from './onnx-nodes.ts'
import { batch, encode, finish, opNodes, readInside, tensorsOf } from './onnx-plan.ts'
import type { OnnxNode, OnnxTensor } from './onnx-schema.ts'
import { quantizedToOnnx } from './quantized-onnx.ts'

export interface OnnxOptions {
  /** The size of the images. */
  readonly height: number
  readonly width: number
  /** The activation that turns logits into probabilities. */
  readonly activation?: Activation
}

/**
 * The network as it was defined: input `x` `[N,C,height,width]` float32, normalised; outputs under the names and in the
 * shapes of {@link Session.run}, but channels first. Tensors have the checkpoint's names. With an `activation` there are also
 * `probabilities`.
 *
 * @throws ResidualError whatever reading the weights throws
 */
export async function networkToOnnx(
  network: Network,
  weights: WeightSource,
  { height, width, activation }: OnnxOptions,
): Promise<Uint8Array> {
  const { layers, channels } = network.graph
  const read = new Set(layers.flatMap(sources))
  const inner = layers.flatMap((layer, id) => (layer.kind === 'linear' && read.has(id) ? [layer.name] : []))
  const initializers: OnnxTensor[] = []
  for (const { name, shape } of parametersOf(network)) {
    const isInner = inner.some(layer => name === `${layer}.weight`)
    initializers.push({ name, dims: isInner ? [...shape, 1, 1] : shape, data: await weights.read(name) })
  }
  const value = (id: number) => (id === 0 ? 'x' : `v${id}`)
  const nodes = layers.flatMap((layer, id): OnnxNode[] => {
    const make = (opType: string, input: string[], attributes: OnnxNode['attributes'] = {}) =>
      node(opType, input, value(id), attributes)
    switch (layer.kind) {
      case 'conv':
        return [make('Conv', [value(layer.src), `${layer.name}.weight`], windows(layer, layer.groups))]
      case 'batchNorm': {
        const leaves = ['weight', 'bias', 'running_mean', 'running_var'].map(leaf => `${layer.name}.${leaf}`)
        return [make('BatchNormalization', [value(layer.src), ...leaves], { epsilon: { f: layer.epsilon } })]
      }
      case 'relu':
        return [make('Relu', [value(layer.src)])]
      case 'add':
        return [make('Add', [value(layer.src), value(layer.other)])]
      case 'localAvgPool': {
        const { kernel } = layer
        return [make('AveragePool', [value(layer.src)], windows({ kernel, stride: kernel, padding: 0 }))]
      }
      case 'linear':
        return fullyConnected(layer.name, value(layer.src), value(id), read.has(id))
      case 'input':
        return []
      default:
        return byTable(layer, value, value(id))
    }
  })
  const outputs = Object.entries(network.outputs).map(([name, { id }]) =>
    name === 'featureMaps' ? node('Identity', [value(id)], name) : flatten(value(id), name),
  )
  const logits = network.outputs.logits.id
  if (activation !== undefined) outputs.push(...activated(activation, 'logits', 'probabilities'))
  const values = Object.entries(network.outputs).map(([name, { id }]) => ({
    name,
    dims: name === 'featureMaps' ? [batch, channels[id]!, 'H', 'W'] : [batch, channels[id]!],
  }))
  if (activation !== undefined) values.push({ name: 'probabilities', dims: [batch, channels[logits]!] })
  return encode({
    name: network.name,
    nodes: [...nodes, ...outputs],
    initializers,
    inputs: [{ name: 'x', dims: [batch, channels[0]!, height, width] }],
    outputs: values,
    ...(activation !== undefined && { metadata: { [activationKey]: activation } }),
  })
}

export interface OnnxPlanOptions {
  /** `int8` if the weights are quantized, else `fp32`, unless given. */
  readonly precision?: 'fp32' | 'int8'
}

/**
 * The plan as it is run: batch norms folded into the convolutions, which have biases instead. Input `x` `[N,C,height,width]`
 * float32, normalised; outputs as for {@link networkToOnnx}, and `probabilities`. In int8 all of them are float32 too: pairs of
 * QuantizeLinear and DequantizeLinear (QDQ) tell what is kept in 8 bits.
 *
 * @param plan in float32
 * @throws TypeError, RangeError for options that do not exist; ResidualError PRECISION_UNSUPPORTED for int8 with weights that are not
 *   quantized, CHECKPOINT_MISMATCH with those of another network, or whatever reading the weights throws
 */
export async function planToOnnx(
  plan: Plan,
  weights: WeightSource,
  options: OnnxPlanOptions = {},
): Promise<Uint8Array> {
  checkNames(options, { precision: true })
  const { quantization } = weights
  const { precision = quantization ? 'int8' : 'fp32' } = options
  if (precision === 'int8') {
    if (quantization) return quantizedToOnnx(plan, weights, quantization)
    const problem = `${weights.description} is not quantized, so it cannot be exported in int8`
    throw new ResidualError('PRECISION_UNSUPPORTED', `${problem}. Quantize it first: residual quantize.`)
  }
  if (precision !== 'fp32') throw outOfRange("'fp32' or 'int8'", 'precision', precision)
  const initializers: OnnxTensor[] = []
  const nodes: OnnxNode[] = []
  const value = (index: number) => (index === plan.ops[0]!.dst ? 'x' : `v${index}`)
  const read = readInside(plan)
  for (const op of plan.ops) {
    const isInner = op.kind === 'linear' && read.has(op.dst)
    if (takesWeights(op)) initializers.push(...(await tensorsOf(plan, op, weights, isInner)))
    nodes.push(...opNodes(op, value, isInner))
  }
  return finish(plan, nodes, initializers, value)
}
