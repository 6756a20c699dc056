import { join } from 'node:path'
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader'
import protobuf from 'protobufjs'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { takeContents, writeResponse } from '../../lib/server/grpc/contents.ts'
import { readVarints } from '../../lib/server/grpc/varints.ts'

const definition = loadSync(join(packageRoot, 'protocol', 'open-inference.proto'), { keepCase: true })
const { serialize, deserialize } = definition['inference.ModelInferRequest'] as MessageTypeDefinition<
  object,
  object
>
const never = new AbortController().signal
const input = (contents: object) => ({ name: 'tensor', datatype: 'FP32', shape: ['2'], contents })

/** A field of bytes. */
const field = (id: number, bytes: Uint8Array) =>
  Buffer.from(
    protobuf.Writer.create()
      .uint32((id << 3) | 2)
      .bytes(bytes)
      .finish(),
  )

describe('the typed contents of a message', () => {
  it('are extracted per input, and the rest of the message stays as it was', () => {
    const floats = [1.5, -2]
    const message = serialize({
      model_name: 'a',
      id: 'b',
      inputs: [
        input({ fp32_contents: floats }),
        input({}),
        input({ bytes_contents: [Buffer.from('x'), Buffer.from('')] }),
      ],
      outputs: [{ name: 'logits' }],
    })
    const { rest, contents, refusal } = takeContents(message)
    expect(refusal).toBeUndefined()
    expect(Buffer.concat(contents[0]!.fp32_contents)).toEqual(Buffer.from(Float32Array.from(floats).buffer))
    expect(contents[1]).toBeUndefined()
    expect(contents[2]!.bytes_contents.map(String)).toEqual(['x', ''])
    const bare = { name: 'tensor', datatype: 'FP32' }
    expect(deserialize(rest)).toMatchObject({
      model_name: 'a',
      id: 'b',
      inputs: [bare, bare, bare],
      outputs: [{ name: 'logits' }],
    })
    expect((deserialize(rest) as { inputs: object[] }).inputs[0]).not.toHaveProperty('contents')
  })

  it('stay in place when they are not packed, and raw contents always do', () => {
    const single = Buffer.from(
      protobuf.Writer.create()
        .uint32((6 << 3) | 5)
        .float(1.5)
        .finish(),
    )
    const message = field(5, Buffer.concat([field(1, Buffer.from('tensor')), field(5, single)]))
    expect(takeContents(message)).toEqual({ rest: message, contents: [undefined] })
    expect(deserialize(message)).toMatchObject({ inputs: [{ contents: { fp32_contents: [1.5] } }] })
    const raw = serialize({ raw_input_contents: [new Uint8Array(2 ** 20)] })
    expect(takeContents(raw).rest).toBe(raw)
  })

  it.each([
    ['many inputs of nothing', Buffer.concat(Array<Buffer>(40_000).fill(field(5, Buffer.alloc(0))))],
    [
      'many fields in an input',
      field(5, Buffer.concat(Array<Buffer>(40_000).fill(field(4, Buffer.alloc(0))))),
    ],
    [
      'many contents of nothing',
      field(5, Buffer.concat(Array<Buffer>(20_000).fill(field(5, field(6, Buffer.alloc(0)))))),
    ],
    ['a long shape', field(5, field(3, Buffer.alloc(70_000, 1)))],
    ['many raw contents of nothing', Buffer.concat(Array<Buffer>(40_000).fill(field(7, Buffer.alloc(0))))],
  ])('are not read with %s beside them, of which each would be an object', (_, bytes) => {
    const { rest, refusal } = takeContents(Buffer.concat([field(1, Buffer.from('a')), bytes]))
    expect(refusal).toMatchObject({ code: 'REQUEST_TOO_LARGE' })
    expect(rest.length).toBeLessThan(70_000)
    expect(deserialize(rest)).toMatchObject({ model_name: 'a' })
  })

  it('are encoded separately as they would be with the message', () => {
    const response = definition['inference.ModelInferResponse'] as MessageTypeDefinition<object, object>
    const floats = Float32Array.from({ length: 300 }, (_, i) => i / 3)
    const tensor = (name: string) => ({ name, datatype: 'FP32', shape: ['1', '300'] })
    const head = { model_name: 'a', outputs: [{ name: 'first', contents: { bytes_contents: [] } }] }
    const wire = ['x', 'y'].map(name => ({ tensor: tensor(name), packedFloats: Buffer.from(floats.buffer) }))
    const contents = { fp32_contents: [...floats] }
    expect(response.deserialize(writeResponse(head, wire, response.serialize))).toEqual(
      response.deserialize(
        response.serialize({
          ...head,
          outputs: [...head.outputs, ...['x', 'y'].map(name => ({ ...tensor(name), contents }))],
        }),
      ),
    )
  })

  it('are an error if the bytes are not a message', () => {
    expect(() => takeContents(Buffer.from([0x2a, 100, 1]))).toThrow(RangeError)
  })

  it('are whole numbers up to 255, however they are written', async () => {
    const parts = [
      [0, 127, 0x80],
      [1, 0xff, 0x01, 0x81, 0x80, 0x00],
    ].map(part => Uint8Array.from(part))
    expect([...(await readVarints('pixels', parts, never))]).toEqual([0, 127, 128, 255, 1])
    await expect(readVarints('pixels', [Uint8Array.from([1, 0x80, 2])], never)).rejects.toThrow(
      /^Element 1 of the input /,
    )
    const long = new Uint8Array(2 ** 20).fill(7)
    expect(Buffer.compare(await readVarints('pixels', [long], never), long)).toBe(0)
    const gone = AbortSignal.abort(new Error('gone'))
    await expect(readVarints('pixels', [long], gone)).rejects.toThrow('gone')
  })
})
