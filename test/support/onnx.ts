// The same network as ONNX, unfused and unfolded, so that onnxruntime can be asked for a second opinion.
// Message and field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
import protobuf from 'protobufjs'
import type { Network } from '../../lib/model/graph.ts'
import { parametersOf } from '../../lib/model/parameters.ts'
import type { WeightSource } from '../../lib/weights/source.ts'

const irVersion = 8
const opsetVersion = 13
const floatType = 1
const attributeType = { f: 1, i: 2, ints: 7 } as const

const schema = protobuf.Root.fromJSON({
  nested: {
    ModelProto: message({
      irVersion: ['int64', 1],
      opsetImport: ['OperatorSetId', 8, 'repeated'],
      graph: ['GraphProto', 7],
    }),
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

/** An ONNX file of the network: input `x`, `[N,C,height,width]` float32, normalised; outputs as the network names them. */
export async function toOnnx(
  network: Network,
  weights: WeightSource,
  { height, width }: { height: number; width: number },
): Promise<Uint8Array> {
  const { layers, channels } = network.graph
  const initializer = []
  for (const { name, shape } of parametersOf(network)) {
    const data = await weights.read(name)
    initializer.push({
      name,
      dims: [...shape],
      dataType: floatType,
      rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    })
  }
  const value = (id: number) => (id === 0 ? 'x' : `v${id}`)
  const nodes = layers.flatMap((layer, id): object[] => {
    const node = (opType: string, input: string[], attributes: Attributes = {}, output = value(id)) => ({
      opType,
      name: `${opType}${output}`,
      input,
      output: [output],
      attribute: Object.entries(attributes).map(([name, attribute]) => ({
        name,
        ...attribute,
        type: attributeType[Object.keys(attribute)[0] as keyof typeof attributeType],
      })),
    })
    switch (layer.kind) {
      case 'conv':
        return [
          node('Conv', [value(layer.src), `${layer.name}.weight`], {
            ...window(layer),
            group: { i: layer.groups },
          }),
        ]
      case 'batchNorm': {
        const leaves = ['weight', 'bias', 'running_mean', 'running_var'].map(leaf => `${layer.name}.${leaf}`)
        return [node('BatchNormalization', [value(layer.src), ...leaves], { epsilon: { f: layer.epsilon } })]
      }
      case 'relu':
        return [node('Relu', [value(layer.src)])]
      case 'add':
        return [node('Add', [value(layer.src), value(layer.other)])]
      case 'maxPool':
        return [node('MaxPool', [value(layer.src)], window(layer))]
      case 'avgPool':
        return [node('GlobalAveragePool', [value(layer.src)])]
      case 'linear':
        return [
          node('Flatten', [value(layer.src)], { axis: { i: 1 } }, `${value(id)}_flat`),
          node('Gemm', [`${value(id)}_flat`, `${layer.name}.weight`, `${layer.name}.bias`], {
            transB: { i: 1 },
          }),
        ]
      default: // the input
        return []
    }
  })
  const outputs = Object.entries(network.outputs)
  const identities = outputs.map(([name, { id }]) => ({
    opType: 'Identity',
    name,
    input: [value(id)],
    output: [name],
  }))
  const tensor = (dim: object[]) => ({ tensorType: { elemType: floatType, shape: { dim } } })
  const Model = schema.lookupType('ModelProto')
  return Model.encode(
    Model.fromObject({
      irVersion,
      opsetImport: [{ domain: '', version: opsetVersion }],
      graph: {
        name: network.name,
        node: [...nodes, ...identities],
        initializer,
        input: [
          {
            name: 'x',
            type: tensor([
              { dimParam: 'N' },
              { dimValue: channels[0] },
              { dimValue: height },
              { dimValue: width },
            ]),
          },
        ],
        output: outputs.map(([name]) => ({ name })),
      },
    }),
  ).finish()
}

type Attributes = { [name: string]: { f: number } | { i: number } | { ints: number[] } }

function window({
  kernel,
  stride,
  padding,
}: {
  kernel: number
  stride: number
  padding: number
}): Attributes {
  return {
    kernel_shape: { ints: [kernel, kernel] },
    strides: { ints: [stride, stride] },
    pads: { ints: [padding, padding, padding, padding] },
  }
}

/** Turns `[N,H,W,C]` to `[N,C,H,W]`. */
export function toNchw(
  data: Float32Array,
  [n, h, w, c]: readonly [number, number, number, number],
): Float32Array {
  const result = new Float32Array(data.length)
  let at = 0
  for (let i = 0; i < n; i++)
    for (let k = 0; k < c; k++) for (let p = 0; p < h * w; p++) result[at++] = data[(i * h * w + p) * c + k]!
  return result
}
