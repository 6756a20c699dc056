// The parts of the ONNX format that a network needs, and their encoding. Message and field numbers are those of
// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
import protobuf from 'protobufjs'

const irVersion = 8
const opsetVersion = 13
const floatType = 1
const typeOf = {
  Float32Array: floatType,
  Uint8Array: 2,
  Int8Array: 3,
  Uint16Array: 4,
  Int32Array: 6,
} as const
const attributeType = { f: 1, i: 2, ints: 7 } as const

const schema = protobuf.Root.fromJSON({
  nested: {
    ModelProto: message({
      irVersion: ['int64', 1],
      producerName: ['string', 2],
      opsetImport: ['OperatorSetId', 8, 'repeated'],
      graph: ['GraphProto', 7],
      metadataProps: ['StringPair', 14, 'repeated'],
    }),
    StringPair: message({ key: ['string', 1], value: ['string', 2] }),
    OperatorSetId: message({ domain: ['string', 1], version: ['int64', 2] }),
    GraphProto: message({
      node: ['NodeProto', 1, 'repeated'],
      name: ['string', 2],
      initializer: ['TensorProto', 5, 'repeated'],
      input: ['ValueInfo', 11, 'repeated'],
      output: ['ValueInfo', 12, 'repeated'],
    }),
    NodeProto: message({
      input: ['string', 1, 'repeated'],
      output: ['string', 2, 'repeated'],
      name: ['string', 3],
      opType: ['string', 4],
      attribute: ['Attribute', 5, 'repeated'],
    }),
    Attribute: message({
      name: ['string', 1],
      f: ['float', 2],
      i: ['int64', 3],
      ints: ['int64', 8, 'repeated'],
      type: ['int32', 20],
    }),
    TensorProto: message({
      dims: ['int64', 1, 'repeated'],
      dataType: ['int32', 2],
      name: ['string', 8],
      rawData: ['bytes', 9],
    }),
    ValueInfo: message({ name: ['string', 1], type: ['TypeProto', 2] }),
    TypeProto: message({ tensorType: ['TensorType', 1] }),
    TensorType: message({ elemType: ['int32', 1], shape: ['TensorShape', 2] }),
    TensorShape: message({ dim: ['Dimension', 1, 'repeated'] }),
    Dimension: message({ dimValue: ['int64', 1], dimParam: ['string', 2] }),
  },
})

type Field = [type: string, id: number, rule?: 'repeated']

function message(fields: { [name: string]: Field }): protobuf.IType {
  const entries = Object.entries(fields).map(([name, [type, id, rule]]) => [
    name,
    { type, id, ...(rule && { rule }) },
  ])
  return { fields: Object.fromEntries(entries) }
}

export type Attribute = { readonly f: number } | { readonly i: number } | { readonly ints: readonly number[] }

export interface OnnxNode {
  readonly opType: string
  readonly name: string
  readonly input: readonly string[]
  readonly output: readonly string[]
  readonly attributes?: { readonly [name: string]: Attribute }
}

export type OnnxNumbers = Float32Array | Uint8Array | Int8Array | Uint16Array | Int32Array

export interface OnnxTensor<Numbers extends OnnxNumbers = OnnxNumbers> {
  readonly name: string
  readonly dims: readonly number[]
  readonly data: Numbers
}

/** An input or output of the graph, float32; a dimension given as a string has any size. */
export interface OnnxValue {
  readonly name: string
  readonly dims: readonly (number | string)[]
}

export interface OnnxGraph {
  readonly name: string
  readonly nodes: readonly OnnxNode[]
  readonly initializers: readonly OnnxTensor[]
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
  /** Of the model. */
  readonly metadata?: { readonly [key: string]: string }
}

/** The bytes of an ONNX file. */
export function encodeOnnx(graph: OnnxGraph): Uint8Array {
  const value = ({ name, dims }: OnnxValue) => ({
    name,
    type: {
      tensorType: {
        elemType: floatType,
        shape: { dim: dims.map(dim => (typeof dim === 'string' ? { dimParam: dim } : { dimValue: dim })) },
      },
    },
  })
  const Model = schema.lookupType('ModelProto')
  return Model.encode(
    Model.fromObject({
      irVersion,
      producerName: 'residual',
      opsetImport: [{ domain: '', version: opsetVersion }],
      metadataProps: Object.entries(graph.metadata ?? {}).map(([key, value]) => ({ key, value })),
      graph: {
        name: graph.name,
        node: graph.nodes.map(({ attributes = {}, ...node }) => ({
          ...node,
          attribute: Object.entries(attributes).map(([name, attribute]) => ({
            name,
            ...attribute,
            type: attributeType[Object.keys(attribute)[0] as keyof typeof attributeType],
          })),
        })),
        initializer: graph.initializers.map(({ name, dims, data }) => ({
          name,
          dims,
          dataType: typeOf[data[Symbol.toStringTag]],
          rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        })),
        input: graph.inputs.map(value),
        output: graph.outputs.map(value),
      },
    }),
  ).finish()
}
