// The small ResNet as a quantized ONNX graph, in the manners of several quantizers, to edit by hand and write again.
import type { OnnxNode, OnnxTensor } from '../../lib/export/onnx-schema.ts'
import { smallOnnx } from './onnx.ts'

/** The manner of a quantizer. */
export interface Manner {
  /** Of activations. */
  readonly activations: 'U8' | 'S8'
  /** Whether zero points of activations are 0 (S8) or 128 (U8). */
  readonly symmetric?: boolean
  readonly weights: 'U8' | 'S8'
  /** Of weights; 0 (S8) and 128 (U8) unless given. */
  readonly zeroPoint?: number
  readonly perChannel: boolean
  /** Whether ReLUs are left out where a zero point at the bottom does the same. */
  readonly implied?: boolean
}

export type QuantizedSmall = Omit<ReturnType<typeof smallOnnx>, 'initializers'> & {
  initializers: OnnxTensor[]
}

/** What activations are scaled by: those after a ReLU, and the others. */
export const activationScales = { positive: 1 / 64, any: 1 / 32 }
export const inputScale = 1 / 40

/** Scales are made of the weights' greatest numbers; biases have those of what is added to them. */
export function quantizedOnnx(manner: Manner): QuantizedSmall {
  const { nodes: plain, initializers: floats, ...graph } = smallOnnx()
  const nodes: OnnxNode[] = []
  const initializers: OnnxTensor[] = []
  const tensors = new Map(floats.map(tensor => [tensor.name, tensor]))
  const add = (opType: string, name: string, input: string[], attributes: OnnxNode['attributes'] = {}) => {
    nodes.push({ opType, name, input, output: [name], attributes })
    return name
  }
  const tensor = (name: string, dims: readonly number[], data: OnnxTensor['data']) => {
    initializers.push({ name, dims, data })
    return name
  }
  const integers = (type: 'U8' | 'S8', values: Iterable<number>) =>
    type === 'U8' ? Uint8Array.from(values) : Int8Array.from(values)
  const [least, center] = manner.activations === 'U8' ? [0, 128] : [-128, 0]

  /** A pair on a value, once for all who read it. */
  const pairs = new Map<string, string>()
  const quantized = (value: string, isPositive: boolean) => {
    const known = pairs.get(value)
    if (known !== undefined) return known
    const scale = value === 'x' ? inputScale : isPositive ? activationScales.positive : activationScales.any
    const zero = manner.symmetric ? center : isPositive ? least : center + 10
    const inputs = [
      tensor(`${value}.scale`, [], Float32Array.of(scale)),
      tensor(`${value}.zero`, [], integers(manner.activations, [zero])),
    ]
    const stored = add('QuantizeLinear', `${value}.q`, [value, ...inputs])
    pairs.set(value, add('DequantizeLinear', `${value}.dq`, [stored, ...inputs]))
    return pairs.get(value)!
  }
  const weight = (name: string): string => {
    const { dims, data } = tensors.get(name)!
    const [channels, perChannel] = [dims[0]!, data.length / dims[0]!]
    const zero = manner.zeroPoint ?? (manner.weights === 'U8' ? 128 : 0)
    const room = manner.weights === 'U8' ? Math.min(zero, 255 - zero) : 127 - Math.abs(zero)
    const reach = (values: Float32Array) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    const scales = manner.perChannel
      ? Array.from({ length: channels }, (_, k) => reach(data.subarray(k * perChannel, (k + 1) * perChannel)))
      : [reach(data)]
    const scale = Float32Array.from(scales, each => each / room)
    const rounded = Array.from(data, (value, i) => {
      const k = manner.perChannel ? Math.floor(i / perChannel) : 0
      return Math.round(value / scale[k]!) + zero
    })
    const shape = manner.perChannel ? [channels] : []
    const inputs = [
      tensor(`${name}.q`, dims, integers(manner.weights, rounded)),
      tensor(`${name}.scale`, shape, scale),
      tensor(
        `${name}.zero`,
        shape,
        integers(
          manner.weights,
          scale.map(() => zero),
        ),
      ),
    ]
    return add('DequantizeLinear', `${name}.dq`, inputs, manner.perChannel ? { axis: { i: 0 } } : {})
  }
  const bias = (name: string): string => {
    const { dims, data } = tensors.get(name)!
    const scale = 2 ** -16
    const inputs = [
      tensor(
        `${name}.q`,
        dims,
        Int32Array.from(data, value => Math.round(value / scale)),
      ),
      tensor(`${name}.scale`, [], Float32Array.of(scale)),
    ]
    return add('DequantizeLinear', `${name}.dq`, inputs)
  }

  const isPositive = (value: string) => /relu|pool|flat/.test(value)
  const renamed = new Map<string, string>() // ReLUs that are left out
  for (const node of plain) {
    const [first = '', ...others] = node.input.map(value => renamed.get(value) ?? value)
    if (node.opType === 'Conv' || node.opType === 'Gemm') {
      const relu = plain.find(({ opType, input }) => opType === 'Relu' && input[0] === node.name)
      const output = relu && manner.implied ? relu.name : node.name
      const inputs = [quantized(first, isPositive(first)), weight(others[0]!), bias(others[1]!)]
      nodes.push({ ...node, input: inputs, output: [output] })
    } else if (node.opType === 'Add') {
      const relu = plain.find(({ opType, input }) => opType === 'Relu' && input[0] === node.name)!
      const inputs = [first, ...others].map(value => quantized(value, isPositive(value)))
      nodes.push({ ...node, input: inputs, output: [manner.implied ? relu.name : node.name] })
    } else if (node.opType === 'Relu') {
      if (!manner.implied) nodes.push(node)
    } else nodes.push({ ...node, input: [quantized(first, isPositive(first)), ...others] })
  }
  return { ...graph, nodes, initializers }
}
