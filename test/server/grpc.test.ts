import { join } from 'node:path'
import {
  type Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import protobuf from 'protobufjs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { type Classifier, load } from '../../lib/index.ts'
import type { RunningServer } from '../../lib/server/index.ts'
import {
  ask,
  bytesTensor,
  channelsFirst,
  imageBytes,
  imageShape,
  metric,
  modelName,
  sampleImage,
  startServer,
} from '../support/server.ts'

const protoPath = join(packageRoot, 'protocol', 'open-inference.proto')

// biome-ignore lint/suspicious/noExplicitAny: messages are what the proto says
type Message = any
type Method = (
  request: object,
  metadata: Metadata,
  options: object,
  callback: (error: ServiceError | null, response: Message) => void,
) => { cancel(): void }

let server: RunningServer
let classifier: Classifier
let client: Client & { readonly [method: string]: Method }
beforeAll(async () => {
  server = await startServer({ threads: 2, grpcPort: 0, limits: { bodyBytes: 2 ** 20 } })
  classifier = await load(modelName, { device: 'cpu', threads: 2 })
  const { inference } = loadPackageDefinition(loadSync(protoPath, { keepCase: true })) as Message
  client = new inference.GRPCInferenceService(`127.0.0.1:${server.grpcPort}`, credentials.createInsecure())
})
afterAll(async () => {
  client.close()
  await server.stop()
  await classifier.close()
})

const call = (
  method: string,
  request: object = {},
  options: object = {},
  metadata = new Metadata(),
): Promise<Message> =>
  new Promise((resolve, reject) => {
    client[method]!(request, metadata, options, (error, response) =>
      error ? reject(error) : resolve(response),
    )
  })

const infer = (request: object, options: object = {}) =>
  call('ModelInfer', { model_name: modelName, ...request }, options)

const pixels = Uint8Array.from({ length: 2 * imageBytes }, (_, i) => (i * 31 + (i >> 5)) % 256)
const pixelInput = { name: 'pixels', datatype: 'UINT8', shape: [2, ...imageShape] }
const bytesOf = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength)

describe('the service', () => {
  it("has the protocol's fields with their numbers", () => {
    const root = protobuf.loadSync(protoPath)
    const numbers = (type: string) =>
      Object.fromEntries(root.lookupType(`inference.${type}`).fieldsArray.map(({ name, id }) => [name, id]))
    expect(numbers('ModelInferRequest')).toEqual({
      modelName: 1,
      modelVersion: 2,
      id: 3,
      parameters: 4,
      inputs: 5,
      outputs: 6,
      rawInputContents: 7,
    })
    expect(numbers('ModelInferResponse')).toEqual({
      modelName: 1,
      modelVersion: 2,
      id: 3,
      parameters: 4,
      outputs: 5,
      rawOutputContents: 6,
    })
    expect(numbers('ModelInferRequest.InferInputTensor')).toEqual({
      name: 1,
      datatype: 2,
      shape: 3,
      parameters: 4,
      contents: 5,
    })
    expect(numbers('ModelInferRequest.InferRequestedOutputTensor')).toEqual({ name: 1, parameters: 2 })
    expect(numbers('InferParameter')).toEqual({
      boolParam: 1,
      int64Param: 2,
      stringParam: 3,
      doubleParam: 4,
      uint64Param: 5,
    })
    expect(Object.values(numbers('InferTensorContents'))).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(numbers('ModelMetadataResponse')).toEqual({
      name: 1,
      versions: 2,
      platform: 3,
      inputs: 4,
      outputs: 5,
      properties: 6,
    })
    expect(numbers('ModelMetadataResponse.TensorMetadata')).toEqual({ name: 1, datatype: 2, shape: 3 })
    expect(numbers('ServerMetadataResponse')).toEqual({ name: 1, version: 2, extensions: 3 })
  })

  it('is live and ready, and gives the same metadata as REST', async () => {
    expect(await call('ServerLive')).toEqual({ live: true })
    expect(await call('ServerReady')).toEqual({ ready: true })
    expect(await call('ModelReady', { name: modelName, version: '1' })).toEqual({ ready: true })
    expect(await call('ServerMetadata')).toEqual((await ask(`${server.url}/v2`)).json)
    const { json } = await ask(`${server.url}/v2/models/${modelName}`)
    const { inputs, outputs, ...rest } = await call('ModelMetadata', { name: modelName })
    const plain = (tensors: { shape: { toNumber(): number }[] }[]) =>
      tensors.map(tensor => ({ ...tensor, shape: tensor.shape.map(Number) }))
    expect({ ...rest, inputs: plain(inputs), outputs: plain(outputs) }).toEqual(json)
  })

  it('answers raw contents with raw contents, to the bit, and echoes id and parameters', async () => {
    const parameters = { mine: { string_param: 'kept' }, big: { int64_param: '9007199254740993' } }
    const response = await infer({ id: 'x', parameters, inputs: [pixelInput], raw_input_contents: [pixels] })
    const expected = await classifier.run(pixels, { outputs: ['logits', 'probabilities', 'features'] })
    expect(response).toMatchObject({ model_name: modelName, model_version: '1', id: 'x' })
    expect(response.parameters.mine.string_param).toBe('kept')
    expect(String(response.parameters.big.int64_param)).toBe('9007199254740993')
    expect(response.outputs.map(({ name }: { name: string }) => name)).toEqual(Object.keys(expected))
    for (const [i, values] of Object.values(expected).entries())
      expect(Buffer.compare(response.raw_output_contents[i], bytesOf(values))).toBe(0)
    const floats = Float32Array.from(pixels, value => value / 100 - 1)
    const tensor = { name: 'tensor', datatype: 'FP32', shape: [2, 3, 64, 64] }
    const answer = await infer({
      inputs: [tensor],
      outputs: [{ name: 'logits' }],
      raw_input_contents: [bytesOf(channelsFirst(floats, 2))],
    })
    expect(
      Buffer.compare(answer.raw_output_contents[0], bytesOf((await classifier.run(floats)).logits)),
    ).toBe(0)
  })

  it.each([
    ['pixels', pixelInput, () => ({ uint_contents: [...pixels] }), () => classifier.run(pixels)],
    [
      'floats',
      { name: 'tensor', datatype: 'FP32', shape: [2, 3, 64, 64] },
      () => ({ fp32_contents: [...channelsFirst(Float32Array.from(pixels), 2)] }),
      () => classifier.run(Float32Array.from(pixels)),
    ],
    [
      'encoded images',
      { name: 'pictures', datatype: 'BYTES', shape: [1] },
      () => ({ bytes_contents: [sampleImage('ship')] }),
      async () => classifier.run((await classifier.prepare(sampleImage('ship'))).pixels),
    ],
  ])('answers typed %s with typed contents, to the bit', async (_, input, contents, expected) => {
    const { outputs, raw_output_contents } = await infer({
      inputs: [{ ...input, contents: contents() }],
      outputs: [{ name: 'logits' }],
    })
    expect(outputs[0].contents.fp32_contents).toEqual([...(await expected()).logits])
    expect(raw_output_contents).toBeUndefined()
  })

  it('returns classes as text', async () => {
    const request = {
      inputs: [{ name: 'pictures', datatype: 'BYTES', shape: [1] }],
      raw_input_contents: [bytesTensor(sampleImage('frog'))],
      outputs: [{ name: 'probabilities', parameters: { classification: { int64_param: 2 } } }],
    }
    const { outputs, raw_output_contents } = await infer(request)
    expect(outputs[0]).toMatchObject({ name: 'probabilities', datatype: 'BYTES' })
    const [raw] = raw_output_contents
    expect(raw.toString('utf8', 4, 4 + raw.readUInt32LE(0))).toMatch(/^0\.8\d+:6:frog$/)
  })

  it.each<[string, object, object, status, string]>([
    ['an unknown model', { model_name: 'other' }, {}, status.NOT_FOUND, 'MODEL_NOT_SERVED'],
    ['another version', { model_version: '2' }, {}, status.NOT_FOUND, 'MODEL_NOT_SERVED'],
    ['no inputs', {}, {}, status.INVALID_ARGUMENT, 'REQUEST_INVALID'],
    ['no contents', { inputs: [pixelInput] }, {}, status.INVALID_ARGUMENT, 'REQUEST_INVALID'],
    [
      'raw contents too many',
      { inputs: [pixelInput], raw_input_contents: [pixels, pixels] },
      {},
      status.INVALID_ARGUMENT,
      'REQUEST_INVALID',
    ],
    [
      'contents in both ways',
      { inputs: [{ ...pixelInput, contents: { uint_contents: [1] } }], raw_input_contents: [pixels] },
      {},
      status.INVALID_ARGUMENT,
      'REQUEST_INVALID',
    ],
    [
      'contents of another type',
      { inputs: [{ ...pixelInput, contents: { fp32_contents: [1] } }] },
      {},
      status.INVALID_ARGUMENT,
      'REQUEST_INVALID',
    ],
    [
      'an input with a very long name',
      { inputs: [{ ...pixelInput, name: 'x'.repeat(50_000) }] },
      {},
      status.INVALID_ARGUMENT,
      'REQUEST_INVALID',
    ],
    [
      'much besides the data',
      { inputs: [{ ...pixelInput, name: 'x'.repeat(70_000) }] },
      {},
      status.INVALID_ARGUMENT,
      'REQUEST_TOO_LARGE',
    ],
    [
      'a datatype there is not',
      { inputs: [{ ...pixelInput, datatype: 'FP8' }] },
      {},
      status.INVALID_ARGUMENT,
      'REQUEST_INVALID',
    ],
    [
      'bytes beyond 255',
      { inputs: [{ ...pixelInput, contents: { uint_contents: [...pixels].fill(256) } }] },
      {},
      status.INVALID_ARGUMENT,
      'REQUEST_INVALID',
    ],
    [
      'no image',
      {
        inputs: [
          {
            name: 'pictures',
            datatype: 'BYTES',
            shape: [1],
            contents: { bytes_contents: [Buffer.from('no')] },
          },
        ],
      },
      {},
      status.INVALID_ARGUMENT,
      'DECODE_FAILED',
    ],
  ])('refuses %s', async (_, request, options, code, name) => {
    const error: ServiceError = await infer(request, options).catch(e => e)
    expect(error.code).toBe(code)
    expect(error.metadata.get('residual-error')).toEqual([name])
    expect(error.details).toMatch(new RegExp(`\\[${name}\\]$`))
    expect(error.details).not.toMatch(/\n/)
    expect(error.details.length).toBeLessThan(600)
  })

  it('ends calls at their deadline, and when the client cancels, and refuses messages that are too large', async () => {
    const many = {
      inputs: [{ ...pixelInput, shape: [80, ...imageShape] }],
      raw_input_contents: [new Uint8Array(80 * imageBytes)],
    }
    await expect(infer(many, { deadline: Date.now() + 5 })).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    })
    const timed = { ...many, parameters: { timeout: { int64_param: 1000 } } }
    await expect(infer(timed)).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED })
    const cancelled = new Promise((_, reject) => {
      const running = client.ModelInfer!({ model_name: modelName, ...many }, new Metadata(), {}, error =>
        reject(error),
      )
      setTimeout(() => running.cancel(), 20)
    })
    await expect(cancelled).rejects.toMatchObject({ code: status.CANCELLED })
    await expect(infer({ ...many, raw_input_contents: [new Uint8Array(2 ** 21)] })).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    })
    expect((await infer({ inputs: [pixelInput], raw_input_contents: [pixels] })).outputs).toHaveLength(3)
  })

  it('finishes what it has accepted when the server stops', async () => {
    const stopping = await startServer({ threads: 1, grpcPort: 0, maxBatch: 4 })
    const { inference } = loadPackageDefinition(loadSync(protoPath, { keepCase: true })) as Message
    const other = new inference.GRPCInferenceService(
      `127.0.0.1:${stopping.grpcPort}`,
      credentials.createInsecure(),
    )
    await new Promise<void>((resolve, reject) => {
      other.waitForReady(Date.now() + 30_000, (error?: Error) => (error ? reject(error) : resolve()))
    })
    const request = {
      model_name: modelName,
      inputs: [{ ...pixelInput, shape: [64, ...imageShape] }],
      raw_input_contents: [new Uint8Array(64 * imageBytes)],
    }
    const answers = Promise.all(
      Array.from(
        { length: 4 },
        () =>
          new Promise<Message>((resolve, reject) => {
            other.ModelInfer(request, (error: ServiceError | null, response: Message) =>
              error ? reject(error) : resolve(response),
            )
          }),
      ),
    )
    // The first has been read to its end: then the others, sent in the same turn on the same connection, have begun.
    await expect
      .poll(() => metric(stopping, 'residual_queue_pictures{'), { interval: 5, timeout: 30_000 })
      .toBeGreaterThan(0)
    expect(await stopping.stop()).toBe(true)
    for (const { outputs } of await answers) expect(outputs).toHaveLength(3)
    other.close()
  })
})
