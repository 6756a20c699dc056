// The tensors of a ResNet from a quantized ONNX graph: batch norms folded into the convolutions, weights in 8 bits as far as
// operations compute with them.
import { product } from '../../../model/product.ts'
import { foldBatchNorm, scaleChannels } from '../../fold.ts'
import { allocateIntegers } from '../../tensors/float-tensor.ts'
import { checkScales, type QuantizedTensor, scaleIntegers } from '../../tensors/quantized-tensor.ts'
import { averagedPixels, ofOnePixel, onePixelShape } from './averaged.ts'
import type { ConvNorm } from './conv-norm.ts'
import { readNumbers, readQuantized, readScales } from './dequantized.ts'
import type { NamedTensor } from './named-tensors.ts'
import type { Structure } from './structure.ts'
import type { OnnxTensor } from './tensor.ts'
import type { Wire } from './wire.ts'

const most = 127

/**
 * The tensors under the names that folded checkpoints have: `conv1.weight`, `conv1.bias`. Weights of the operations in `int8` are
 * I8; all others are float32.
 */
export function quantizedTensors(
  { convs, classifier }: Pick<Structure, 'convs' | 'classifier'>,
  int8: ReadonlySet<string>,
  wire: Wire,
): ReadonlyMap<string, NamedTensor> {
  const tensors = new Map<string, NamedTensor>()
  for (const [name, conv] of convs) {
    const { averaged } = conv
    const { dims } = conv.weight
    const fold = () => foldOf(conv, wire)
    const shape = averaged ? onePixelShape(dims) : dims
    const weight = { weight: conv.weight, shape, averaged, factors: async () => (await fold()).scale }
    tensors.set(`${name}.weight`, int8.has(name) ? integersOf(weight, wire) : floatsOf(weight, wire))
    tensors.set(
      `${name}.bias`,
      vector(dims[0]!, async () => (await fold()).bias),
    )
  }
  const { weight, channels, classes, channelsFirst, bias } = classifier
  const fc = { weight, shape: [classes, channels], channelsFirst }
  tensors.set('fc.weight', int8.has('fc') ? integersOf(fc, wire) : floatsOf(fc, wire))
  tensors.set(
    'fc.bias',
    vector(classes, async () => (bias ? await readNumbers(wire, bias) : new Float32Array(classes))),
  )
  return tensors
}

/** A weight of the file, and what becomes of it. */
interface Weight {
  readonly weight: OnnxTensor
  readonly shape: readonly number[]
  /** Whether it is a matrix `[C,K]`. */
  readonly channelsFirst?: boolean
  /** Whether the file has it for each pixel of a mean. */
  readonly averaged?: boolean
  /** What each output channel is multiplied by. */
  readonly factors?: () => Promise<Float64Array>
}

const vector = (length: number, load: NamedTensor['load']): NamedTensor => ({
  shape: [length],
  dtype: 'F32',
  length,
  load,
})

function floatsOf({ weight, shape, channelsFirst, averaged, factors }: Weight, wire: Wire): NamedTensor {
  const load = async () => {
    const stored = await readNumbers(wire, weight)
    const numbers = channelsFirst
      ? turned(stored, new Float32Array(stored.length), shape)
      : averaged
        ? ofOnePixel(weight, stored, wire.file.path).map(number => number * averagedPixels)
        : stored
    return factors ? scaleChannels(numbers, await factors()) : numbers
  }
  return { shape, dtype: 'F32', length: product(shape), load }
}

function integersOf(of: Weight, wire: Wire): NamedTensor {
  const { shape } = of
  const length = product(shape)
  const integers = () => readSymmetric(of, wire)
  const load = async (into?: Float32Array) => {
    const quantized = await integers()
    const result = into?.length === length ? into : new Float32Array(length)
    scaleIntegers(quantized, result)
    return result
  }
  return { shape, dtype: 'I8', length, load, integers }
}

/**
 * A weight as integers without zero points, `[K,...]`, and a positive scale for each output channel. They are those of the file
 * where none is further than 127 from its zero point; -128 becomes -127; channels of a wider range are rounded to 8 bits again.
 */
async function readSymmetric(
  { weight, shape, channelsFirst, averaged, factors }: Weight,
  wire: Wire,
): Promise<QuantizedTensor> {
  const [stored, { scale, zeroPoint }] = [await readQuantized(wire, weight), await readScales(wire, weight)]
  const own = channelsFirst
    ? turned(stored, new Int16Array(stored.length), shape)
    : averaged
      ? ofOnePixel(weight, stored, wire.file.path)
      : stored
  const [channels, multiples, pixels] = [shape[0]!, await factors?.(), averaged ? averagedPixels : 1]
  const perChannel = own.length / channels
  const integers = allocateIntegers(weight.name, own.length, wire.file.path)
  const scales = new Float32Array(channels)
  for (let k = 0; k < channels; k++) {
    const [begin, at] = [k * perChannel, scale.length === 1 ? 0 : k]
    const [zero, multiple] = [zeroPoint[at]!, multiples?.[k] ?? 1]
    let reach = 0
    for (let i = begin; i < begin + perChannel; i++) reach = Math.max(reach, Math.abs(own[i]! - zero))
    const shrink = reach > most + 1 ? most / reach : 1
    const factor = Math.sign(multiple) * shrink
    for (let i = begin; i < begin + perChannel; i++)
      integers[i] = Math.max(-most, Math.min(most, Math.round((own[i]! - zero) * factor)))
    scales[k] = multiple === 0 ? 1 : (pixels * scale[at]! * Math.abs(multiple)) / shrink
  }
  return {
    integers,
    scales: checkScales(weight.name, scales, wire.file.path),
  }
}

/** `[C,K]` as `[K,C]`. */
function turned<T extends { [i: number]: number }>(
  from: { readonly [i: number]: number },
  to: T,
  [rows, columns]: readonly number[],
): T {
  for (let k = 0; k < rows!; k++)
    for (let c = 0; c < columns!; c++) to[k * columns! + c] = from[c * rows! + k]!
  return to
}

/** What a convolution's batch norm and bias come to, `[K]` each. */
async function foldOf({ weight, bias, norm }: ConvNorm, wire: Wire) {
  const channels = weight.dims[0]!
  const read = (tensor: OnnxTensor) => readNumbers(wire, tensor)
  const bn = norm && {
    ...{ weight: await read(norm.gamma), bias: await read(norm.beta), epsilon: norm.epsilon },
    ...{ mean: await read(norm.mean), variance: await read(norm.variance) },
  }
  const { scale, bias: shift } = foldBatchNorm(channels, bn ?? null)
  if (bias) for (const [k, value] of (await read(bias)).entries()) shift[k]! += value * scale[k]!
  return { scale, bias: shift }
}
