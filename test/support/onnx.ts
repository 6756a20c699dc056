// A ResNet of four basic blocks as an ONNX graph, small enough to edit by hand and write again.
import type { OnnxGraph, OnnxNode, OnnxTensor } from '../../lib/export/onnx-schema.ts'
import { someFloats } from './hdf5.ts'

type Attributes = NonNullable<OnnxNode['attributes']>

/** Batch norms are folded: convolutions have biases. Images are `[N,3,64,64]`, classes 3. */
export function smallOnnx(): Omit<OnnxGraph, 'nodes' | 'initializers'> & {
  nodes: OnnxNode[]
  initializers: OnnxTensor<Float32Array>[]
} {
  const nodes: OnnxNode[] = []
  const initializers: OnnxTensor<Float32Array>[] = []
  const tensor = (name: string, dims: readonly number[]) => {
    initializers.push({ name, dims, data: someFloats(dims, initializers.length) })
    return name
  }
  const add = (name: string, opType: string, input: string[], attributes: Attributes = {}) => {
    nodes.push({ name, opType, input, output: [name], attributes })
    return name
  }
  const window = (kernel: number, stride: number): Attributes => ({
    kernel_shape: { ints: [kernel, kernel] },
    strides: { ints: [stride, stride] },
    pads: { ints: Array(4).fill((kernel - 1) / 2) },
  })
  const conv = (name: string, src: string, from: number, to: number, kernel: number, stride: number) => {
    const tensors = [tensor(`${name}.w`, [to, from, kernel, kernel]), tensor(`${name}.b`, [to])]
    return add(name, 'Conv', [src, ...tensors], window(kernel, stride))
  }
  let x = add(
    'stem.pool',
    'MaxPool',
    [add('stem.relu', 'Relu', [conv('stem', 'x', 3, 2, 7, 2)])],
    window(3, 2),
  )
  for (const [i, width] of [2, 3, 4, 5].entries()) {
    const from = i === 0 ? 2 : width - 1
    const stride = i === 0 ? 1 : 2
    const first = add(`${i}.relu1`, 'Relu', [conv(`${i}.1`, x, from, width, 3, stride)])
    const main = conv(`${i}.2`, first, width, width, 3, 1)
    const shortcut = i === 0 ? x : conv(`${i}.0`, x, from, width, 1, stride)
    x = add(`${i}.relu2`, 'Relu', [add(`${i}.add`, 'Add', [main, shortcut])])
  }
  const flat = add('flat', 'Flatten', [add('pool', 'GlobalAveragePool', [x])])
  add('y', 'Gemm', [flat, tensor('fc.w', [3, 5]), tensor('fc.b', [3])], { transB: { i: 1 } })
  return {
    name: 'small',
    nodes,
    initializers,
    inputs: [{ name: 'x', dims: ['N', 3, 64, 64] }],
    outputs: [{ name: 'y', dims: ['N', 3] }],
  }
}
