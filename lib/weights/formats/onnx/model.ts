// The contents of an ONNX file: nodes, tensors, inputs and outputs. Field numbers are those of
// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
import { type ExternalFiles, keyAndValue, type OnnxTensor, parseTensor } from './tensor.ts'
import type { Field, Range, Wire } from './wire.ts'

/** Numbers, a string or a tensor; anything else is left out. */
export interface OnnxAttribute {
  readonly float: number
  readonly int: number
  readonly ints: readonly number[]
  readonly text: string
  readonly tensor: OnnxTensor | undefined
}

export interface OnnxNode {
  readonly op: string
  readonly name: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: ReadonlyMap<string, OnnxAttribute>
}

/** A node, for messages. */
export const described = ({ op, name, outputs }: OnnxNode) => `${op} '${name || outputs[0]}'`

/** An input of the graph, with its known sizes. */
export interface OnnxInput {
  readonly name: string
  readonly dims: readonly (number | undefined)[]
}

export interface OnnxModel {
  readonly nodes: readonly OnnxNode[]
  /** By name. */
  readonly tensors: ReadonlyMap<string, OnnxTensor>
  readonly inputs: readonly OnnxInput[]
  readonly outputs: readonly string[]
  readonly metadata: ReadonlyMap<string, string>
}

/** @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID */
export async function parseModel(wire: Wire, externals: ExternalFiles): Promise<OnnxModel> {
  const fields = await wire.fields({ begin: 0, end: wire.file.size })
  const metadata = new Map<string, string>()
  for (const { id, ...range } of fields) {
    if (id === 2) metadata.set('producer_name', await wire.text(range))
    if (id === 3) metadata.set('producer_version', await wire.text(range))
    if (id === 14) metadata.set(...(await keyAndValue(wire, range)))
  }
  const graphs = fields.filter(({ id, kind }) => id === 7 && kind === 'bytes')
  if (graphs.length !== 1) throw wire.invalid(`it has ${graphs.length} graphs`)
  const nodes: OnnxNode[] = []
  const tensors = new Map<string, OnnxTensor>()
  const inputs: OnnxInput[] = []
  const outputs: string[] = []
  for (const field of await wire.fields(graphs[0]!)) {
    if (field.kind !== 'bytes') continue
    if (field.id === 1) nodes.push(await parseNode(wire, field, externals))
    if (field.id === 5) {
      const tensor = await parseTensor(wire, field, externals)
      if (tensors.has(tensor.name)) throw wire.invalid(`it has tensor '${tensor.name}' twice`)
      tensors.set(tensor.name, tensor)
    }
    if (field.id === 11) inputs.push(await parseInput(wire, field))
    if (field.id === 12) outputs.push((await parseInput(wire, field)).name)
    if (field.id === 15) throw wire.invalid('it has sparse tensors')
  }
  return { nodes, tensors, inputs, outputs, metadata }
}

/** onnxruntime's own operators that are like those of the same name. */
const ofBoth = new Set(['QuantizeLinear', 'DequantizeLinear'])

async function parseNode(wire: Wire, range: Range, externals: ExternalFiles): Promise<OnnxNode> {
  const fields = await wire.fields(range)
  const texts = async (id: number) => {
    const found: string[] = []
    for (const field of fields)
      if (field.id === id && field.kind === 'bytes') found.push(await wire.text(field))
    return found
  }
  const attributes = new Map<string, OnnxAttribute>()
  for (const field of fields)
    if (field.id === 5 && field.kind === 'bytes')
      attributes.set(...(await parseAttribute(wire, field, externals)))
  const [op = ''] = await texts(4)
  const [name = ''] = await texts(3)
  const [domain = ''] = await texts(7)
  const inputs = await texts(1)
  const isPlain = domain === '' || domain === 'ai.onnx' || (domain === 'com.microsoft' && ofBoth.has(op))
  const qualified = isPlain ? op : `${domain}.${op}`
  return { op: qualified, name, inputs, outputs: await texts(2), attributes }
}

async function parseAttribute(
  wire: Wire,
  range: Range,
  externals: ExternalFiles,
): Promise<[string, OnnxAttribute]> {
  const fields = await wire.fields(range)
  const last = (id: number, kind: Field['kind']) =>
    fields.findLast(field => field.id === id && field.kind === kind)
  const ints: number[] = []
  for (const field of fields)
    if (field.id === 8) for (const number of await wire.numbers(field)) ints.push(number)
  const [name, text, tensor] = [last(1, 'bytes'), last(4, 'bytes'), last(5, 'bytes')]
  return [
    name ? await wire.text(name) : '',
    {
      float: last(2, 'float')?.value ?? 0,
      int: last(3, 'number')?.value ?? 0,
      ints,
      text: text && text.value <= 64 ? await wire.text(text) : '', // modes are short; anything longer is a comment
      tensor: tensor && (await parseTensor(wire, tensor, externals)),
    },
  ]
}

/** A ValueInfoProto, whose type may be missing. */
async function parseInput(wire: Wire, range: Range): Promise<OnnxInput> {
  const inside = async (from: Range | undefined, id: number) =>
    from && (await wire.fields(from)).find(field => field.id === id && field.kind === 'bytes')
  const nameField = await inside(range, 1)
  const name = nameField ? await wire.text(nameField) : ''
  const shape = await inside(await inside(await inside(range, 2), 1), 2)
  const dims: (number | undefined)[] = []
  for (const dim of shape ? await wire.fields(shape) : [])
    if (dim.kind === 'bytes')
      dims.push((await wire.fields(dim)).find(({ id, kind }) => id === 1 && kind === 'number')?.value)
  return { name, dims }
}
