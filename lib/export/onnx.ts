// Export to ONNX: a network as it was defined, layer by layer, or as it runs, with batch norms folded.
import type { Activation } from '../model/activation.ts'
import type { Network, OpLayer } from '../model/graph.ts'
import {
  type ConvertOp,
  type ConvOp,
  type LayerOp,
  type Op,
  operandsOf,
  rowOf,
  type Window,
} from '../model/ops.ts'
import { parametersOf } from '../model/parameters.ts'
import { activationOf, inputShape, type OutputName, type Plan } from '../model/plan.ts'
import { sources } from '../model/uses.ts'
import { activationKey } from '../weights/checkpoint/checkpoint.ts'
import { readFolded, takesWeights, type WeightedOp, weightShape } from '../weights/op-weights.ts'
import type { WeightSource } from '../weights/source.ts'
import type { Attribute, OnnxGraph, OnnxNode, OnnxTensor, OnnxValue } from './onnx-schema.ts'

const batch = 'N' // of any size

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

/**
 * The plan as it is run: batch norms folded into the convolutions, which have biases instead. Input `x` `[N,C,height,width]`
 * float32, normalised; outputs as for {@link networkToOnnx}, and `probabilities`.
 *
 * @throws ResidualError whatever reading the weights throws
 */
export async function planToOnnx(plan: Plan, weights: WeightSource): Promise<Uint8Array> {
  const initializers: OnnxTensor[] = []
  const nodes: OnnxNode[] = []
  const value = (index: number) => (index === plan.ops[0]!.dst ? 'x' : `v${index}`)
  const read = new Set(
    plan.ops.flatMap(op => (rowOf(op).activation ? [] : operandsOf(op).map(({ index }) => index))),
  )
  for (const op of plan.ops) {
    const isInner = op.kind === 'linear' && read.has(op.dst)
    if (takesWeights(op)) initializers.push(...(await tensorsOf(plan, op, weights, isInner)))
    nodes.push(...opNodes(op, value, isInner))
  }
  const outputs: OnnxValue[] = []
  for (const [name, index] of Object.entries(plan.outputs) as [OutputName, number][]) {
    const { channels, height, width } = plan.values[index]!
    const flat = name !== 'featureMaps'
    nodes.push(flat ? flatten(value(index), name) : node('Identity', [value(index)], name))
    outputs.push({ name, dims: flat ? [batch, channels] : [batch, channels, height, width] })
  }
  const { channels, height, width } = inputShape(plan)
  const inputs = [{ name: 'x', dims: [batch, channels, height, width] }]
  const metadata = { [activationKey]: activationOf(plan) }
  return encode({ name: plan.name, nodes, initializers, inputs, outputs, metadata })
}

/** The encoder is loaded on first use: most users of the package export nothing. */
async function encode(graph: OnnxGraph): Promise<Uint8Array> {
  const { encodeOnnx } = await import('./onnx-schema.ts')
  return encodeOnnx(graph)
}

/** `isInner`: whether other operations read what a linear one makes. */
function opNodes(op: Op, value: (index: number) => string, isInner: boolean): OnnxNode[] {
  switch (op.kind) {
    case 'normalize':
      return [] // x is its result
    case 'conv':
      return convolution(op, value)
    case 'linear':
      return fullyConnected(op.name, value(op.src), value(op.dst), isInner)
    case 'softmax':
    case 'sigmoid':
      return activated(op.kind, value(op.src), value(op.dst))
    default:
      return byTable(op, value, value(op.dst))
  }
}

/** The operator that the table names, on the same operands. */
function byTable(
  of: LayerOp | OpLayer | ConvertOp,
  value: (index: number) => string,
  dst: string,
): OnnxNode[] {
  const sources = operandsOf(of).map(({ index }) => value(index))
  return [node(rowOf(of).onnx!, sources, dst, 'kernel' in of ? windows(of) : {})]
}

/** Conv, then Add and Relu where they are fused into it. */
function convolution(op: ConvOp, value: (index: number) => string): OnnxNode[] {
  const dst = value(op.dst)
  const steps: ((src: string, dst: string) => OnnxNode)[] = [
    (src, to) => node('Conv', [src, `${op.name}.weight`, `${op.name}.bias`], to, windows(op, op.groups)),
  ]
  if (op.residual !== null) steps.push((src, to) => node('Add', [src, value(op.residual!)], to))
  if (op.relu) steps.push((src, to) => node('Relu', [src], to))
  let src = value(op.src)
  return steps.map((step, i) => {
    const to = i === steps.length - 1 ? dst : `${dst}_${i}`
    const made = step(src, to)
    src = to
    return made
  })
}

async function tensorsOf(
  plan: Plan,
  op: WeightedOp,
  source: WeightSource,
  isInner: boolean,
): Promise<OnnxTensor[]> {
  const { weight, bias } = await readFolded(plan, op, source)
  const dims = weightShape(plan, op)
  return [
    { name: `${op.name}.weight`, dims: isInner ? [...dims, 1, 1] : dims, data: weight },
    { name: `${op.name}.bias`, dims: [bias.length], data: bias },
  ]
}

function activated(activation: Activation, src: string, dst: string): OnnxNode[] {
  if (activation === 'softmax') return [node('Softmax', [src], dst, { axis: { i: 1 } })]
  return [node(activation === 'sigmoid' ? 'Sigmoid' : 'Identity', [src], dst)]
}

function node(
  opType: string,
  input: readonly string[],
  output: string,
  attributes: OnnxNode['attributes'] = {},
): OnnxNode {
  return { opType, name: `${opType}_${output}`, input, output: [output], attributes }
}

const flatten = (src: string, dst: string) => node('Flatten', [src], dst, { axis: { i: 1 } })

/** Between other layers a convolution: what a Gemm makes has no height and width, by which they would read it. */
function fullyConnected(name: string, src: string, dst: string, isInner: boolean): OnnxNode[] {
  const parameters = [`${name}.weight`, `${name}.bias`]
  if (isInner)
    return [node('Conv', [src, ...parameters], dst, windows({ kernel: 1, stride: 1, padding: 0 }, 1))]
  const flat = `${dst}_flat`
  const gemm = node('Gemm', [flat, ...parameters], dst, { transB: { i: 1 } })
  return [flatten(src, flat), gemm]
}

function windows({ kernel, stride, padding }: Window, groups?: number): { [name: string]: Attribute } {
  return {
    kernel_shape: { ints: [kernel, kernel] },
    strides: { ints: [stride, stride] },
    pads: { ints: [padding, padding, padding, padding] },
    ...(groups !== undefined && { group: { i: groups } }),
  }
}
