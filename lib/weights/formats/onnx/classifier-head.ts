// A ResNet's classifier in an ONNX graph: the mean over all pixels, a fully connected layer, and possibly an activation.
import type { Activation } from '../../../model/activation.ts'
import { tensorOf } from './conv-norm.ts'
import type { OnnxGraph, Reader } from './graph.ts'
import { described, type OnnxInput } from './model.ts'
import type { ActivationRange } from './scaling.ts'
import type { OnnxTensor } from './tensor.ts'

const activations: { readonly [op: string]: Activation } = {
  Softmax: 'softmax',
  LogSoftmax: 'softmax',
  Sigmoid: 'sigmoid',
}

/** The fully connected layer. */
export interface Classifier {
  readonly weight: OnnxTensor
  readonly classes: number
  readonly channels: number
  /** Whether the weight is `[C,K]` rather than `[K,C]`. */
  readonly channelsFirst: boolean
  readonly bias: OnnxTensor | undefined
  /** Of what it reads, if that is quantized. */
  readonly range: ActivationRange | undefined
}

/** The classifier and activation after the last block. */
export interface Head {
  readonly classifier: Classifier
  /** Undefined if the graph ends with the logits. */
  readonly activation: Activation | undefined
}

/** @throws ResidualError CHECKPOINT_INVALID naming what does not occur in a ResNet */
export function headAt(graph: OnnxGraph, pool: Reader, input: OnnxInput): Head {
  checkGlobal(graph, pool, input)
  const readers = graph.readers(pool.node.outputs[0]!, { flattened: true })
  const [reader] = readers
  if (!reader || readers.length > 1)
    throw graph.refused(
      `${readers.length} nodes read ${described(pool.node)}; in a ResNet only the classifier does`,
    )
  const { classifier, value } = connected(graph, reader)
  const found = new Set<Activation>()
  for (const { node } of graph.readers(value, { flattened: true })) {
    const activation = activations[node.op]
    if (!activation) throw graph.refused(`${described(node)} comes after the classifier, where a ResNet ends`)
    found.add(activation)
  }
  if (found.size > 1) throw graph.refused(`both ${[...found].join(' and ')} come after the classifier`)
  const [activation] = found
  return { classifier, activation }
}

function checkGlobal(graph: OnnxGraph, { node, channelsLast }: Reader, input: OnnxInput): void {
  if (node.op === 'GlobalAveragePool' && !channelsLast) return
  if (node.op === 'ReduceMean') {
    const axes = graph
      .integers(node, 'axes', 1)
      ?.map(axis => (axis + 4) % 4)
      .sort()
    if (axes?.join() === (channelsLast ? '1,2' : '2,3')) return
    throw graph.refused(`${described(node)} takes the mean over the axes [${axes}]`)
  }
  // The pool of files from Caffe: as large as the feature map of the intended image size.
  const kernel = node.attributes.get('kernel_shape')?.ints ?? []
  const pads = node.attributes.get('pads')?.ints ?? []
  const sizes = input.dims.slice(2).map(size => Math.ceil((size ?? 0) / 32))
  if (kernel.join() !== sizes.join() || pads.some(n => n !== 0))
    throw graph.refused(
      `${described(node)} takes the mean over ${kernel.join('x')} of ${sizes.join('x')} pixels`,
    )
}

/** Gemm, MatMul with or without Add, or a 1x1 convolution. */
function connected(
  graph: OnnxGraph,
  { node, input, range }: Reader,
): { classifier: Classifier; value: string } {
  const output = node.outputs[0]!
  if (input !== 0 || !['Gemm', 'MatMul', 'Conv'].includes(node.op))
    throw graph.refused(`it has ${described(node)} where a ResNet has its classifier`)
  const bias = (from: typeof node, at: number, classes: number) => {
    if (!from.inputs[at]) return undefined
    const tensor = graph.constant(from.inputs[at])?.tensor
    if (tensor?.length !== classes)
      throw graph.refused(`${described(from)} must add ${classes} constants stored in the file`)
    return tensor
  }
  if (node.op === 'Conv') {
    const weight = tensorOf(graph, node, 1, 4)
    const [classes = 0, channels = 0] = weight.dims
    if (weight.length !== classes * channels) throw graph.refused(`${described(node)} is not 1x1`)
    const common = { weight, classes, channels, channelsFirst: false, range }
    return { classifier: { ...common, bias: bias(node, 2, classes) }, value: output }
  }
  const constant = graph.constant(node.inputs[1])
  if (constant?.tensor.dims.length !== 2)
    throw graph.refused(`input 1 of ${described(node)} is not a matrix stored in the file`)
  const attribute = (name: string) => node.attributes.get(name)
  if (
    (attribute('alpha')?.float ?? 1) !== 1 ||
    (attribute('beta')?.float ?? 1) !== 1 ||
    attribute('transA')?.int
  )
    throw graph.refused(`${described(node)} is not a plain matrix product`)
  const channelsFirst = (attribute('transB')?.int === 1) === constant.transposed
  const [channels, classes] = (channelsFirst ? constant.tensor.dims : constant.tensor.dims.toReversed()) as [
    number,
    number,
  ]
  const common = { weight: constant.tensor, classes, channels, channelsFirst, range }
  if (node.op === 'Gemm') return { classifier: { ...common, bias: bias(node, 2, classes) }, value: output }
  const next = graph.readers(output, { flattened: true })
  if (next.length !== 1 || next[0]!.node.op !== 'Add')
    return { classifier: { ...common, bias: undefined }, value: output }
  const add = next[0]!
  return {
    classifier: { ...common, bias: bias(add.node, 1 - add.input, classes) },
    value: add.node.outputs[0]!,
  }
}
