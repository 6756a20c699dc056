// ONNX graphs of plans: the operators of each operation, the outputs, and the file of both.
import { type ConvOp, type Op, operandsOf, rowOf } from '../model/ops.ts'
import { activationOf, inputShape, type Plan } from '../model/plan.ts'
import { activationKey } from '../weights/checkpoint/checkpoint.ts'
import { readFolded, type WeightedOp, weightShape } from '../weights/op-weights.ts'
import type { WeightSource } from '../weights/source.ts'
import { activated, byTable, flatten, fullyConnected, node, windows } from './onnx-nodes.ts'
import type { OnnxGraph, OnnxNode, OnnxTensor, OnnxValue } from './onnx-schema.ts'

/** The name of a dimension of any size. */
export const batch = 'N'

/**
 * The file of a plan whose values, the input `x` aside, are those of `nodes`, named by `value`.
 *
 * @param nodes completed with those of the outputs
 */
export async function finish(
  plan: Plan,
  nodes: OnnxNode[],
  initializers: readonly OnnxTensor[],
  value: (index: number) => string,
): Promise<Uint8Array> {
  const outputs: OnnxValue[] = []
  for (const [name, index] of Object.entries(plan.outputs)) {
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
export async function encode(graph: OnnxGraph): Promise<Uint8Array> {
  const { encodeOnnx } = await import('./onnx-schema.ts')
  return encodeOnnx(graph)
}

/** The values that operations other than activations read. */
export function readInside({ ops }: Plan): ReadonlySet<number> {
  return new Set(ops.flatMap(op => (rowOf(op).activation ? [] : operandsOf(op).map(({ index }) => index))))
}

/** `isInner`: whether other operations read what a linear one makes. */
export function opNodes(op: Op, value: (index: number) => string, isInner: boolean): OnnxNode[] {
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

export async function tensorsOf(
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
