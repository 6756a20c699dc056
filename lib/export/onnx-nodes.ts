// Nodes of ONNX graphs: the operators that layers and operations become.
import type { Activation } from '../model/activation.ts'
import type { OpLayer } from '../model/graph.ts'
import { type ConvertOp, type LayerOp, operandsOf, rowOf, type Window } from '../model/ops.ts'
import type { Attribute, OnnxNode } from './onnx-schema.ts'

/** The operator that the table names, on the same operands. */
export function byTable(
  of: LayerOp | OpLayer | ConvertOp,
  value: (index: number) => string,
  dst: string,
): OnnxNode[] {
  const sources = operandsOf(of).map(({ index }) => value(index))
  return [node(rowOf(of).onnx!, sources, dst, 'kernel' in of ? windows(of) : {})]
}

export function activated(activation: Activation, src: string, dst: string): OnnxNode[] {
  if (activation === 'softmax') return [node('Softmax', [src], dst, { axis: { i: 1 } })]
  return [node(activation === 'sigmoid' ? 'Sigmoid' : 'Identity', [src], dst)]
}

export function node(
  opType: string,
  input: readonly string[],
  output: string,
  attributes: OnnxNode['attributes'] = {},
): OnnxNode {
  return { opType, name: `${opType}_${output}`, input, output: [output], attributes }
}

export const flatten = (src: string, dst: string) => node('Flatten', [src], dst, { axis: { i: 1 } })

/** Between other layers a convolution: what a Gemm makes has no height and width, by which they would read it. */
export function fullyConnected(name: string, src: string, dst: string, isInner: boolean): OnnxNode[] {
  const parameters = [`${name}.weight`, `${name}.bias`]
  if (isInner)
    return [node('Conv', [src, ...parameters], dst, windows({ kernel: 1, stride: 1, padding: 0 }, 1))]
  const flat = `${dst}_flat`
  const gemm = node('Gemm', [flat, ...parameters], dst, { transB: { i: 1 } })
  return [flatten(src, flat), gemm]
}

export function windows({ kernel, stride, padding }: Window, groups?: number): { [name: string]: Attribute } {
  return {
    kernel_shape: { ints: [kernel, kernel] },
    strides: { ints: [stride, stride] },
    pads: { ints: [padding, padding, padding, padding] },
    ...(groups !== undefined && { group: { i: groups } }),
  }
}
