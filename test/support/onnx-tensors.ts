// ONNX files whose tensors use fields and types that our exporter does not. The numbers of fields and types are those of
// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
import protobuf from 'protobufjs'
import { encodeOnnx, type OnnxGraph, type OnnxTensor } from '../../lib/export/onnx-schema.ts'
import { encodeBFloat16, encodeFloat16 } from '../../lib/weights/tensors/float16.ts'

/** Writes a TensorProto's fields other than its name and dimensions. */
export type Encode = (writer: protobuf.Writer, data: Float32Array) => unknown

const type = { float: 1, half: 10, double: 11, bfloat16: 16 } as const
const field = { type: 2, floats: 4, ints: 5, raw: 9, doubles: 10, external: 13, location: 14 } as const
const [varint, bytes] = [0, 2] as const // wire types
const tag = (writer: protobuf.Writer, id: number, wireType: number) => writer.uint32((id << 3) | wireType)
const typed = (writer: protobuf.Writer, number: number) => tag(writer, field.type, varint).int32(number)
const raw = (writer: protobuf.Writer, data: ArrayBufferView) =>
  tag(writer, field.raw, bytes).bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
const packedInts = (writer: protobuf.Writer, values: Iterable<number>) => {
  tag(writer, field.ints, bytes).fork()
  for (const value of values) writer.int32(value)
  return writer.ldelim()
}
const halves = (data: Float32Array) => Uint16Array.from(data, encodeFloat16)
const bfloats = (data: Float32Array) => Uint16Array.from(data, encodeBFloat16)

export const encodings = {
  raw: (writer, data) => raw(typed(writer, type.float), data),
  float_data: (writer, data) => {
    tag(typed(writer, type.float), field.floats, bytes).fork()
    for (const value of data) writer.float(value)
    writer.ldelim()
  },
  'float_data, not packed': (writer, data) => {
    typed(writer, type.float)
    for (const value of data) tag(writer, field.floats, /*wireType=*/ 5).float(value)
  },
  'float_data and raw_data': (writer, data) => {
    encodings.float_data(
      writer,
      data.map(value => value + 1),
    )
    raw(writer, data)
  },
  'raw fp16': (writer, data) => raw(typed(writer, type.half), halves(data)),
  'fp16 in int32_data': (writer, data) => packedInts(typed(writer, type.half), halves(data)),
  'raw bf16': (writer, data) => raw(typed(writer, type.bfloat16), bfloats(data)),
  'bf16 in int32_data': (writer, data) => packedInts(typed(writer, type.bfloat16), bfloats(data)),
  'raw double': (writer, data) => raw(typed(writer, type.double), Float64Array.from(data)),
  double_data: (writer, data) => {
    tag(typed(writer, type.double), field.doubles, bytes).fork()
    for (const value of data) writer.double(value)
    writer.ldelim()
  },
} as const satisfies { readonly [name: string]: Encode }

/** In another file: what is said of where. */
export const external =
  (entries: { readonly [key: string]: string }): Encode =>
  writer => {
    typed(writer, type.float)
    for (const [key, value] of Object.entries(entries))
      tag(writer, field.external, bytes).fork().uint32(10).string(key).uint32(18).string(value).ldelim()
    tag(writer, field.location, varint).int32(1)
  }

interface FloatGraph extends Omit<OnnxGraph, 'initializers'> {
  readonly initializers: readonly OnnxTensor<Float32Array>[]
}

/** The file of a graph, each tensor written by what `choose` gives for it. */
export function encodeWith(graph: FloatGraph, choose: (tensor: OnnxTensor) => Encode): Buffer {
  const { Reader, Writer } = protobuf
  const tensors = Writer.create()
  for (const tensor of graph.initializers) {
    tag(tensors, 5, bytes).fork()
    for (const size of tensor.dims) tag(tensors, 1, varint).int64(size)
    choose(tensor)(tag(tensors, 8, bytes).string(tensor.name), tensor.data)
    tensors.ldelim()
  }
  const model = encodeOnnx({ ...graph, initializers: [] })
  const reader = Reader.create(model)
  const parts: Uint8Array[] = []
  while (reader.pos < reader.len) {
    const begin = reader.pos
    const read = reader.uint32()
    if (read >>> 3 === 7) {
      const whole = Buffer.concat([reader.bytes(), tensors.finish()])
      parts.push(tag(Writer.create(), 7, bytes).bytes(whole).finish())
    } else {
      reader.skipType(read & 7)
      parts.push(model.subarray(begin, reader.pos))
    }
  }
  return Buffer.concat(parts)
}
