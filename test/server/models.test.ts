import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ServiceError, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { type Classifier, load } from '../../lib/index.ts'
import type { RunningServer } from '../../lib/server/index.ts'
import { type GrpcClient, grpcClient } from '../support/grpc.ts'
import {
  type Answer,
  ask,
  channelsFirst,
  imageBytes,
  imageShape,
  inferBinary,
  modelName,
  post,
  startServer,
} from '../support/server.ts'

const bundled = join(packageRoot, 'models', modelName)

let server: RunningServer
let closed: RunningServer
let folder: string
let file: string
let classifier: Classifier
let inference: GrpcClient
let closedInference: GrpcClient
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-models-'))
  file = join(folder, 'copy.safetensors')
  await copyFile(`${bundled}.safetensors`, file)
  await copyFile(`${bundled}.json`, join(folder, 'copy.json'))
  server = await startServer({
    models: [modelName, file],
    threads: 2,
    grpcPort: 0,
    repository: true,
    maxBatch: 8,
    maxWaitMs: 1.5,
    maxQueue: 100,
  })
  closed = await startServer({ threads: 1, maxBatch: 1, grpcPort: 0 })
  classifier = await load(modelName, { device: 'cpu', threads: 2 })
  const service = 'inference.GRPCInferenceService'
  inference = grpcClient(server, 'open-inference.proto', service)
  closedInference = grpcClient(closed, 'open-inference.proto', service)
})
afterAll(async () => {
  inference.close()
  closedInference.close()
  await Promise.all([server.stop(), closed.stop(), classifier.close()])
  await rm(folder, { recursive: true })
})

const pixels = Uint8Array.from({ length: 2 * imageBytes }, (_, i) => (i * 37 + (i >> 4)) % 256)
const pixelInput = { name: 'pixels', datatype: 'UINT8', shape: [2, ...imageShape] }
const bytesOf = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength)

/** What came of a question: an answer, or the code and text of an error. */
// biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is what it says
type Outcome = any

const restOutcome = ({ status, json, headers }: Answer): Outcome =>
  status === 200 ? json : { status, code: headers.get('Residual-Error'), text: json.error }
const restLoad = (to: RunningServer, name: string, body: string) =>
  post(`${to.url}/v2/repository/models/${name}/load`, body).then(restOutcome)
const grpcOutcome = (answer: Promise<Outcome>): Outcome =>
  answer.catch((error: ServiceError) => ({
    status: error.code,
    code: String(error.metadata.get('residual-error')),
    text: error.details,
  }))

/** The same questions in both protocols. */
const protocols = {
  REST: {
    statusOf: { 400: 400, 404: 404, 500: 500, refused: 404 },
    metadata: (name: string, version = '1') =>
      ask(`${server.url}/v2/models/${name}/versions/${version}`).then(restOutcome),
    config: async (name: string) =>
      restOutcome(await ask(`${server.url}/v2/models/${encodeURIComponent(name)}/config`)),
    statistics: (name?: string) =>
      ask(`${server.url}/v2/models/${name ? `${name}/` : ''}stats`).then(restOutcome),
    index: (body: object) =>
      post(`${server.url}/v2/repository/index`, JSON.stringify(body)).then(restOutcome),
    load: (name: string, parameters = {}) => restLoad(server, name, JSON.stringify({ parameters })),
    loadWhereNotAllowed: () => restLoad(closed, modelName, ''),
    unload: () => post(`${server.url}/v2/repository/models/${modelName}/unload`, '').then(restOutcome),
    infer: async (name: string, input: object, outputs?: object[], parameters: object = {}) => {
      const body = { inputs: [{ ...input, data: [...pixels] }], parameters, ...(outputs && { outputs }) }
      return restOutcome(await post(`${server.url}/v2/models/${name}/infer`, JSON.stringify(body)))
    },
  },
  gRPC: {
    statusOf: {
      400: status.INVALID_ARGUMENT,
      404: status.NOT_FOUND,
      500: status.INTERNAL,
      refused: status.NOT_FOUND,
    },
    metadata: (name: string, version = '1') =>
      grpcOutcome(inference.call('ModelMetadata', { name, version })),
    config: async (name: string) => {
      const answer = await grpcOutcome(inference.call('ModelConfig', { name }))
      return answer.config ?? answer
    },
    statistics: (name?: string) => grpcOutcome(inference.call('ModelStatistics', { name })),
    index: async (body: object) => {
      const answer = await grpcOutcome(inference.call('RepositoryIndex', body))
      return answer.models ?? answer
    },
    load: (name: string, parameters: { [name: string]: string } = {}) =>
      grpcOutcome(
        inference.call('RepositoryModelLoad', {
          model_name: name,
          parameters: Object.fromEntries(
            Object.entries(parameters).map(([key, value]) => [key, { string_param: value }]),
          ),
        }),
      ),
    loadWhereNotAllowed: () =>
      grpcOutcome(closedInference.call('RepositoryModelLoad', { model_name: modelName })),
    unload: () => grpcOutcome(inference.call('RepositoryModelUnload', { model_name: modelName })),
    infer: (
      model_name: string,
      input: object,
      outputs: { name: string; parameters?: object }[] = [],
      given: object = {},
    ) => {
      const written = (parameters: object = {}) =>
        Object.fromEntries(
          Object.entries(parameters).map(([key, value]) => [key, { string_param: String(value) }]),
        )
      const { parameters, ...tensor } = input as { parameters?: object }
      return grpcOutcome(
        inference.call('ModelInfer', {
          model_name,
          inputs: [{ ...tensor, parameters: written(parameters), contents: { uint_contents: [...pixels] } }],
          outputs: outputs.map(output => ({ ...output, parameters: written(output.parameters) })),
          parameters: written(given),
        }),
      )
    },
  },
}

describe.each(Object.entries(protocols))('over %s', (_, protocol) => {
  const { statusOf } = protocol

  it('an unserved model is not found', async () => {
    const outcome = { status: statusOf[404], code: 'MODEL_NOT_SERVED' }
    const text = expect.stringMatching(/^Unknown model 'other'.*has resnet50-cifar10, copy/)
    expect(await protocol.metadata('other')).toEqual({ ...outcome, text })
    expect(await protocol.config('other')).toEqual({ ...outcome, text })
    expect(await protocol.statistics('other')).toEqual({ ...outcome, text })
    expect(await protocol.load('other')).toEqual({ ...outcome, text })
    expect(await protocol.metadata(modelName, '2')).toMatchObject(outcome)
    expect(await protocol.metadata(`${modelName}:input`)).toMatchObject(outcome)
    expect(await protocol.metadata(':pixels')).toMatchObject(outcome)
  })

  it('a model has a configuration, in which each input is optional', async () => {
    expect(await protocol.config(modelName)).toMatchObject({
      name: modelName,
      platform: 'residual',
      backend: 'residual',
      max_batch_size: 100, // a request's images, which may all have to wait
      input: [
        { name: 'pictures', data_type: 'TYPE_STRING', format: 'FORMAT_NONE', dims: [], optional: true },
        { name: 'pixels', data_type: 'TYPE_UINT8', format: 'FORMAT_NHWC', dims: [64, 64, 3], optional: true },
        { name: 'tensor', data_type: 'TYPE_FP32', format: 'FORMAT_NCHW', dims: [3, 64, 64], optional: true },
      ],
      output: [
        { name: 'logits', data_type: 'TYPE_FP32', dims: [10] },
        { name: 'probabilities', data_type: 'TYPE_FP32', dims: [10] },
        { name: 'features', data_type: 'TYPE_FP32', dims: [512] },
      ],
      instance_group: [{ name: modelName, kind: 'KIND_CPU', count: 1, gpus: [] }],
      dynamic_batching: {
        preferred_batch_size: [8],
        max_queue_delay_microseconds: 1500,
        default_queue_policy: {
          default_timeout_microseconds: 30_000_000,
          allow_timeout_override: true,
          max_queue_size: 100,
        },
      },
    })
  })

  it.each([
    ['pictures', 'TYPE_STRING', 'FORMAT_NONE', [-1]],
    ['pixels', 'TYPE_UINT8', 'FORMAT_NHWC', [-1, 64, 64, 3]],
    ['tensor', 'TYPE_FP32', 'FORMAT_NCHW', [-1, 3, 64, 64]],
  ])('NAME:%s is the model with that one input and one output', async (input, data_type, format, shape) => {
    const name = `${modelName}:${input}`
    const { inputs, outputs, ...rest } = await protocol.metadata(name)
    expect(rest).toEqual({
      name,
      versions: ['1'],
      platform: 'residual',
      ...('properties' in rest && { properties: {} }),
    })
    expect(inputs).toEqual([{ name: input, datatype: expect.any(String), shape }])
    expect(outputs).toEqual([{ name: 'probabilities', datatype: 'FP32', shape: [-1, 10] }])
    const config = await protocol.config(name)
    expect(config).toMatchObject({
      name,
      input: [{ name: input, data_type, format, dims: shape.slice(1), optional: false }],
      output: [{ name: 'probabilities', data_type: 'TYPE_FP32', dims: [10] }],
    })
  })

  it('NAME:INPUT answers with its output, and knows no other input or output', async () => {
    const name = `${modelName}:pixels`
    const { model_name, outputs } = await protocol.infer(name, pixelInput)
    const { probabilities } = await classifier.run(pixels, { outputs: ['probabilities'] })
    expect(model_name).toBe(name)
    expect(outputs).toHaveLength(1)
    expect(outputs[0].data ?? outputs[0].contents.fp32_contents).toEqual([...probabilities])
    const invalid = { status: statusOf[400], code: 'REQUEST_INVALID' }
    expect(await protocol.infer(`${modelName}:tensor`, pixelInput)).toEqual({
      ...invalid,
      text: expect.stringMatching(/^The model has no input 'pixels'; it has tensor\./),
    })
    expect(await protocol.infer(name, pixelInput, [{ name: 'logits' }])).toEqual({
      ...invalid,
      text: expect.stringMatching(/^The model has no output 'logits'; it has probabilities\./),
    })
  })

  it('statistics count requests, images, batches and failures', async () => {
    const [before] = (await protocol.statistics(modelName)).model_stats
    await protocol.infer(modelName, pixelInput)
    await protocol.infer(`${modelName}:pixels`, pixelInput)
    await protocol.infer(modelName, { ...pixelInput, datatype: 'FP16' })
    const { model_stats } = await protocol.statistics(modelName)
    const [after] = model_stats
    expect([model_stats.length, after.name, after.version]).toEqual([1, modelName, '1'])
    const grown = (...path: string[]) => {
      const at = (of: Outcome) => path.reduce((inner, name) => inner[name], of)
      return at(after) - at(before)
    }
    expect(grown('inference_count')).toBe(4)
    expect(grown('execution_count')).toBe(2)
    expect(grown('inference_stats', 'fail', 'count')).toBe(1)
    for (const part of ['success', 'queue', 'compute_input', 'compute_infer'])
      expect(grown('inference_stats', part, 'count')).toBe(2)
    expect(grown('inference_stats', 'success', 'ns')).toBeGreaterThan(
      grown('inference_stats', 'compute_infer', 'ns'),
    )
    expect(grown('inference_stats', 'compute_infer', 'ns')).toBeGreaterThan(0)
    expect(Math.abs(after.last_inference - Date.now())).toBeLessThan(60_000)
    const of = (stats: Outcome) =>
      stats.batch_stats.find(({ batch_size }: Outcome) => batch_size === 2)?.compute_infer.count ?? 0
    expect(of(after) - of(before)).toBe(2)
    expect((await protocol.statistics()).model_stats.map(({ name }: Outcome) => name)).toEqual([
      modelName,
      'copy',
    ])
  })

  it('the repository lists its models, and those that are ready', async () => {
    const models = [modelName, 'copy'].map(name => ({ name, version: '1', state: 'READY', reason: '' }))
    expect(await protocol.index({})).toEqual(models)
    expect(await protocol.index({ ready: true })).toEqual(models)
    expect(await protocol.index({ repository_name: 'other' })).toEqual({
      status: statusOf[400],
      code: 'REQUEST_INVALID',
      text: expect.stringMatching(/^Unknown repository 'other'/),
    })
  })

  it('reloads a model if clients may, says why it cannot, and refuses unsupported options', async () => {
    const { code, text } = await protocol.load('copy')
    expect([code, text]).toEqual([undefined, undefined])
    expect(await protocol.load('copy', { config: '{}' })).toEqual({
      status: statusOf[400],
      code: 'REQUEST_INVALID',
      text: expect.stringMatching(/^The parameter 'config' is not supported/),
    })
    await writeFile(file, 'damaged')
    expect(await protocol.load('copy')).toEqual({
      status: statusOf[500],
      code: 'MODEL_LOAD_FAILED',
      text: expect.stringMatching(
        /^The model copy could not be reloaded and stays as it was: .*copy\.safetensors/,
      ),
    })
    expect((await protocol.infer('copy', pixelInput)).outputs).toHaveLength(3)
    await copyFile(`${bundled}.safetensors`, file)
    expect(await protocol.loadWhereNotAllowed()).toEqual({
      status: statusOf.refused,
      code: 'PATH_NOT_FOUND',
      text: expect.stringMatching(/--repository/),
    })
    expect(await protocol.unload()).toMatchObject({ status: statusOf.refused, code: 'PATH_NOT_FOUND' })
  })

  it.each<[string, object, object[], object]>([
    ['the request', pixelInput, [], { shared_memory_region: 'r' }],
    ["the input 'pixels'", { ...pixelInput, parameters: { shared_memory_region: 'r' } }, [], {}],
    [
      "the output 'logits'",
      pixelInput,
      [{ name: 'logits', parameters: { shared_memory_byte_size: 80 } }],
      {},
    ],
  ])('refuses shared memory for %s', async (of, input, outputs, parameters) => {
    expect(await protocol.infer(modelName, input, outputs as { name: string }[], parameters)).toEqual({
      status: statusOf[400],
      code: 'REQUEST_INVALID',
      text: expect.stringMatching(
        new RegExp(`^The parameter 'shared_memory_\\w+' of ${of} is not supported`),
      ),
    })
  })

  it('says what a shape must be', async () => {
    const { text } = await protocol.infer(modelName, { ...pixelInput, shape: [2, 3, 64, 64] })
    expect(text).toMatch(/has shape \[2,3,64,64\]; it must be \[N,64,64,3\] with N of at least 1\./)
  })
})

describe('over gRPC', () => {
  it('a shape of -1 is refused with a valid example', async () => {
    const outcome = await protocols.gRPC.infer(modelName, { ...pixelInput, shape: [-1, 64, 64, 3] })
    expect(outcome.text).toMatch(/has shape \[-1,64,64,3\]; it must be \[N,64,64,3\]/)
  })

  it("loads a model named in KServe's field, and answers as KServe does", async () => {
    const both = { repository_name: 'mine', model_name: 'copy' }
    await expect(inference.call('RepositoryModelLoad', both)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(/^Unknown repository 'mine'/),
    })
    expect(await inference.call('RepositoryModelLoad', { repository_name: 'copy' })).toEqual({
      model_name: 'copy',
      isLoaded: true,
    })
  })

  it("health follows gRPC's protocol, when asked and whenever it changes", async () => {
    const other = await startServer({ threads: 1, maxBatch: 1, grpcPort: 0 })
    const health = grpcClient(other, 'health.proto', 'grpc.health.v1.Health')
    for (const service of ['', 'inference.GRPCInferenceService'])
      expect(await health.call('Check', { service })).toEqual({ status: 'SERVING' })
    await expect(health.call('Check', { service: 'other' })).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: expect.stringMatching(/^Unknown service 'other'/),
    })
    const told: string[] = []
    const watching = ['', 'other'].map(
      service =>
        new Promise<void>((resolve, reject) => {
          health
            .stream('Watch', { service })
            .on('data', ({ status }: { status: string }) => told.push(`${service}: ${status}`))
            .on('end', resolve)
            .on('error', reject)
        }),
    )
    await expect.poll(() => told.length).toBe(2)
    expect(await other.stop()).toBe(true)
    await Promise.all(watching)
    expect(told.toSorted()).toEqual([': NOT_SERVING', ': SERVING', 'other: SERVICE_UNKNOWN'])
    health.close()
  })
})

describe('over REST', () => {
  it('KServe’s list has the names of all models', async () => {
    expect((await ask(`${server.url}/v2/models`)).json).toEqual({ models: [modelName, 'copy'] })
  })

  it.each([
    ['[]', /not a JSON object/],
    ['{"parameters": 7}', /'parameters' must be an object/],
    ['{"parameters": {"file:1/model.onnx": "AAAA"}}', /'file:1\/model\.onnx' is not supported/],
    ['{"config": {}}', /'config' is not supported/],
    ['{', /not JSON/],
  ])('a body %s of load is refused', async (body, message) => {
    expect(await restLoad(server, 'copy', body)).toEqual({
      status: 400,
      code: 'REQUEST_INVALID',
      text: expect.stringMatching(message),
    })
  })

  it.each([{ ready: 'yes' }, { repository_name: 7 }, { only: 'copy' }])(
    'a body %j of index is refused',
    async body => {
      expect(await protocols.REST.index(body)).toMatchObject({ status: 400, code: 'REQUEST_INVALID' })
    },
  )

  it('takes JSON that begins with a byte order mark', async () => {
    const body = `\ufeff${JSON.stringify({ inputs: [{ ...pixelInput, data: [...pixels] }] })}`
    expect((await post(`${server.url}/v2/models/${modelName}/infer`, body)).status).toBe(200)
    expect((await restLoad(server, 'copy', '\ufeff{}')).code).toBe(undefined)
    const small = { ...pixelInput, shape: [2], data: [1, 2] }
    expect(
      (
        await post(
          `${server.url}/v2/models/${modelName}/infer`,
          `\ufeff${JSON.stringify({ inputs: [small] })}`,
        )
      ).json.error,
    ).toMatch(/has shape \[2\]/)
  })

  it.each([
    ['it is BMP, which is not supported. Convert it to PNG', Buffer.from('BM6\0\0\0')],
    ['it is ICO, which is not supported. Convert it to PNG', Buffer.of(0, 0, 1, 0, 1, 0)],
    [
      'it is SVG, which is not supported because it can contain scripts. Render it to PNG first',
      Buffer.from('<?xml version="1.0"?><svg/>'),
    ],
    ['it is HEIC, which is not supported. Convert it to JPEG', Buffer.from('\0\0\0\x18ftypheic')],
    ['it is an HTML page, not an image', Buffer.from('\n<!doctype html>')],
  ])('an image is refused by what it is: %s', async (what, image) => {
    const { json } = await post(`${server.url}/classify`, image)
    expect(json.error).toBe(`the image of ${image.length} bytes cannot be decoded: ${what}. [DECODE_FAILED]`)
  })

  it('NAME:INPUT also accepts tensors in binary', async () => {
    const floats = Float32Array.from(pixels, value => value / 100 - 1)
    const input = {
      name: 'tensor',
      datatype: 'FP32',
      shape: [2, 3, 64, 64],
      data: [...channelsFirst(floats, 2)],
    }
    const { status, json } = await post(
      `${server.url}/v2/models/${encodeURIComponent(`${modelName}:tensor`)}/infer`,
      JSON.stringify({ inputs: [input] }),
    )
    const { probabilities } = await classifier.run(floats, { outputs: ['probabilities'] })
    expect([status, json.outputs[0].data]).toEqual([200, [...probabilities]])
    const plain = await inferBinary(
      server,
      { inputs: [pixelInput], parameters: { binary_data_output: true } },
      pixels,
    )
    const { logits } = await classifier.run(pixels)
    expect(Buffer.compare(plain.outputs.get('logits')!.bytes, bytesOf(logits))).toBe(0)
  })
})
