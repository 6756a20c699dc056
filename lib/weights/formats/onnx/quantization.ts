// The quantization of a network from a quantized ONNX graph: which operations compute in int8, and how values are kept for them.
import type { Quantization, QuantizedValue } from '../../../model/quantization.ts'
import { integerType } from './dequantized.ts'
import type { ActivationRange } from './scaling.ts'
import type { Structure } from './structure.ts'
import type { OnnxTensor } from './tensor.ts'

/** How the operations of the float32 plan are computed. */
export interface QuantizedGraph {
  /** Undefined if all operations are kept. */
  readonly quantization: Quantization | undefined
  /** Why an operation is computed in float32, by its name. */
  readonly reasons: { readonly [op: string]: string }
}

/**
 * Finds what computes in int8: convolutions and the classifier, if the file quantizes their weights, by output channel or all
 * alike, and everything they read. Activations are rounded as in the file where it does so symmetrically or, after a ReLU, from 0
 * on; other ranges become the next larger ones of these kinds.
 *
 * @param pool the name of the global average pool
 */
export function quantizationIn(
  { convs, classifier }: Pick<Structure, 'convs' | 'classifier'>,
  pool: string,
): QuantizedGraph {
  const values: { [op: string]: QuantizedValue } = {}
  const reasons: { [op: string]: string } = {}
  for (const [name, { made, relu }] of convs)
    if (made && is8bit(made)) values[name] = quantizedValue(made, relu)
  if (classifier.range && is8bit(classifier.range)) values[pool] = quantizedValue(classifier.range, true)
  const consider = (name: string, weight: OnnxTensor, axis: number, read: readonly Read[]) => {
    const reason = whyFloat(weight, axis) ?? read.map(whyUnread).find(each => each !== undefined)
    if (reason !== undefined) reasons[name] = reason
  }
  for (const [name, { weight, range, added }] of convs)
    consider(name, weight, 0, [range, ...(added === undefined ? [] : [convs.get(added)!.made])])
  consider('fc', classifier.weight, classifier.channelsFirst ? 1 : 0, [classifier.range])
  const names = Object.keys(reasons)
  if (names.length > convs.size) return { quantization: undefined, reasons }
  const [first] = convs.keys()
  if (!Object.hasOwn(reasons, first!)) values.normalize = { type: 'uint8', scale: 1 }
  return { quantization: { values, kept: Object.fromEntries(names.map(name => [name, 'fp32'])) }, reasons }
}

/** What an operation reads: quantized or not. */
type Read = ActivationRange | undefined

/** Why integer arithmetic cannot use a weight whose output channels are along `axis`. */
function whyFloat(weight: OnnxTensor, axis: number): string | undefined {
  const { dequantized } = weight
  if (!dequantized) return 'its weights are not quantized'
  if (integerType(weight) === 'I32') return 'its weights have 32 bits'
  if (dequantized.scale.length > 1 && dequantized.axis !== axis)
    return 'its weights have scales for other channels than those of its result'
  return undefined
}

function whyUnread(range: Read): string | undefined {
  if (!range) return 'what it reads is not quantized'
  return is8bit(range) ? undefined : 'what it reads has 16 bits'
}

const is8bit = ({ least, most }: ActivationRange) => most - least < 256

/** The symmetric kind of a range: that of the file if it is one, else one that all its numbers are in. */
function quantizedValue(range: ActivationRange, isPositive: boolean): QuantizedValue {
  const { scale, zeroPoint, least, most } = range
  const [below, above] = [zeroPoint - least, most - zeroPoint]
  if (above === 127) return { type: 'int8', scale }
  if (isPositive) return { type: 'uint8', scale: (Math.max(above, 1) * scale) / 255 }
  return { type: 'int8', scale: (Math.max(below, above) * scale) / 127 }
}
