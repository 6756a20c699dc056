// The tensors of a ResNet from an ONNX graph, including identity batch norms where they were folded away.
import { stemNames } from '../../../model/blocks.ts'
import { defaultEpsilon } from '../../../model/layers.ts'
import type { CheckpointTensor } from '../../checkpoint/checkpoint.ts'
import type { StoredTensor } from '../../checkpoint/stored-tensor.ts'
import type { QuantizedTensor } from '../../tensors/quantized-tensor.ts'
import { averagedPixels, ofOnePixel, onePixelShape } from './averaged.ts'
import type { ConvNorm, Norm } from './conv-norm.ts'
import type { OnnxGraph } from './graph.ts'
import type { Structure } from './structure.ts'
import { type OnnxTensor, readOnnxTensor, storedTensor } from './tensor.ts'
import type { Wire } from './wire.ts'

/** A tensor under its new name. The caller of `load` owns the result. */
export interface NamedTensor extends CheckpointTensor {
  load(into?: Float32Array): Promise<Float32Array>
  /** Present if `load` only reads. */
  readonly stored?: StoredTensor | undefined
  /** Present if the tensor is quantized. */
  readonly integers?: () => Promise<QuantizedTensor>
}

/** @throws ResidualError CHECKPOINT_INVALID if batch norms differ in epsilon: a network has only one */
export function namedTensors(
  graph: OnnxGraph,
  { convs, classifier }: Pick<Structure, 'convs' | 'classifier'>,
  wire: Wire,
): { readonly tensors: ReadonlyMap<string, NamedTensor>; readonly epsilon: number } {
  const epsilons = new Set([...convs.values()].flatMap(({ norm }) => (norm ? [norm.epsilon] : [])))
  if (epsilons.size > 1)
    throw graph.refused(`its batch norms have the epsilons ${[...epsilons].join(' and ')}`)
  const [epsilon = defaultEpsilon] = epsilons
  if (!(epsilon > 0)) throw graph.refused(`its batch norms have the epsilon ${epsilon}`)

  const tensors = new Map<string, NamedTensor>()
  const read = (tensor: OnnxTensor, into?: Float32Array) => readOnnxTensor(wire, tensor, into)
  const as = (
    { dtype, length }: OnnxTensor,
    shape: readonly number[],
    load: NamedTensor['load'],
  ): NamedTensor => ({
    shape,
    dtype,
    length,
    load,
  })
  const mean = (tensor: OnnxTensor): NamedTensor => ({
    ...as(tensor, onePixelShape(tensor.dims), async () =>
      ofOnePixel(tensor, await read(tensor), graph.path).map(weight => weight * averagedPixels),
    ),
    length: tensor.length / averagedPixels,
  })
  const plain = (tensor: OnnxTensor): NamedTensor => ({
    ...as(tensor, tensor.dims, into => read(tensor, into)),
    stored: storedTensor(tensor),
  })
  for (const [name, conv] of convs) {
    tensors.set(`${name}.weight`, conv.averaged ? mean(conv.weight) : plain(conv.weight))
    const norm = conv.norm ? stored(conv.norm, conv, plain, read) : identity(conv, epsilon, plain)
    for (const [leaf, tensor] of Object.entries(norm)) tensors.set(`${normName(name)}.${leaf}`, tensor)
  }
  const { weight, channels, classes, channelsFirst, bias } = classifier
  const turned = async () => transposed(await read(weight), channels)
  tensors.set(
    'fc.weight',
    channelsFirst
      ? as(weight, [classes, channels], turned)
      : { ...plain(weight), shape: [classes, channels] },
  )
  tensors.set('fc.bias', bias ? as(bias, [classes], () => read(bias)) : constant(classes, 0))
  return { tensors, epsilon }
}

/** `bn2` of `conv2`, `downsample.1` of `downsample.0`. */
function normName(conv: string): string {
  const inStem = stemNames.deep.find(names => names.conv === conv)
  if (inStem) return inStem.bn
  return conv
    .replace(/conv(\d)$/, 'bn$1')
    .replace(/downsample\.(\d)$/, (_, layer) => `downsample.${Number(layer) + 1}`)
}

/** Leaf names are torchvision's. */
interface NormTensors {
  readonly weight: NamedTensor
  readonly bias: NamedTensor
  readonly running_mean: NamedTensor
  readonly running_var: NamedTensor
}

/** The convolution's bias is subtracted from the mean. */
function stored(
  { gamma, beta, mean, variance }: Norm,
  { bias }: ConvNorm,
  plain: (tensor: OnnxTensor) => NamedTensor,
  read: (tensor: OnnxTensor) => Promise<Float32Array>,
): NormTensors {
  const shifted = async () => {
    const [means, biases] = [await read(mean), await read(bias!)]
    return means.map((value, k) => value - biases[k]!)
  }
  return {
    weight: plain(gamma),
    bias: plain(beta),
    running_mean: bias ? { ...plain(mean), load: shifted, stored: undefined } : plain(mean),
    running_var: plain(variance),
  }
}

/**
 * A batch norm that only adds the convolution's bias: rounded to float32, `1 - epsilon` makes the scale 1 to within 3e-8, which
 * float32 cannot tell from 1.
 */
function identity(
  { weight, bias }: ConvNorm,
  epsilon: number,
  plain: (tensor: OnnxTensor) => NamedTensor,
): NormTensors {
  const channels = weight.dims[0]!
  return {
    weight: constant(channels, 1),
    bias: bias ? plain(bias) : constant(channels, 0),
    running_mean: constant(channels, 0),
    running_var: constant(channels, 1 - epsilon),
  }
}

const constant = (length: number, value: number): NamedTensor => ({
  shape: [length],
  dtype: 'F32',
  length,
  load: async () => new Float32Array(length).fill(value),
})

/** `[rows,columns]` to `[columns,rows]`. */
function transposed(values: Float32Array, rows: number): Float32Array {
  const columns = values.length / rows
  return values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!)
}
