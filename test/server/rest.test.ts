import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Classifier, load } from '../../lib/index.ts'
import type { RunningServer } from '../../lib/server/index.ts'
import { seeded } from '../support/files.ts'
import {
  ask,
  binaryRequest,
  bytesTensor,
  channelsFirst,
  imageBytes,
  imageShape,
  inferBinary,
  inferJson,
  inferUrl,
  modelName,
  post,
  sampleImage,
  startServer,
} from '../support/server.ts'

let server: RunningServer
let classifier: Classifier
beforeAll(async () => {
  server = await startServer({ threads: 2 })
  classifier = await load(modelName, { device: 'cpu', threads: 2 })
})
afterAll(async () => {
  await server.stop()
  await classifier.close()
})

const random = seeded(3)
const pixels = Uint8Array.from({ length: 2 * imageBytes }, () => random() * 256)
const floats = Float32Array.from({ length: 2 * imageBytes }, () => random() * 4 - 2) // [N,H,W,3]
const pixelInput = { name: 'pixels', datatype: 'UINT8', shape: [2, ...imageShape] }
const tensorInput = { name: 'tensor', datatype: 'FP32', shape: [2, 3, 64, 64] }
const imageInput = { name: 'pictures', datatype: 'BYTES', shape: [2] }
const everything = ['logits', 'probabilities', 'features'] as const
const bytesOf = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength)

describe('metadata and health', () => {
  it('describe the server, the model and its only version', async () => {
    const { json } = await ask(`${server.url}/v2`)
    expect(json).toEqual({
      name: 'residual',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      extensions: [
        'binary_tensor_data',
        'classification',
        'model_configuration',
        'model_repository',
        'statistics',
      ],
    })
    const model = await ask(`${server.url}/v2/models/${modelName}`)
    expect(model.json).toEqual({
      name: modelName,
      versions: ['1'],
      platform: 'residual',
      inputs: [
        { name: 'pictures', datatype: 'BYTES', shape: [-1] },
        { name: 'pixels', datatype: 'UINT8', shape: [-1, 64, 64, 3] },
        { name: 'tensor', datatype: 'FP32', shape: [-1, 3, 64, 64] },
      ],
      outputs: [
        { name: 'logits', datatype: 'FP32', shape: [-1, 10] },
        { name: 'probabilities', datatype: 'FP32', shape: [-1, 10] },
        { name: 'features', datatype: 'FP32', shape: [-1, 512] },
      ],
    })
    expect((await ask(`${server.url}/v2/models/${modelName}/versions/1`)).json).toEqual(model.json)
  })

  it.each([
    ['/v2/health/live', { live: true }],
    ['/v2/health/ready', { ready: true }],
    [`/v2/models/${modelName}/ready`, { name: modelName, ready: true }],
    [`/v2/models/${modelName}/versions/1/ready`, { name: modelName, ready: true }],
  ])('%s answers %j', async (path, expected) => {
    const { status, json } = await ask(server.url + path)
    expect([status, json]).toEqual([200, expected])
  })

  it.each([
    ['/v2/models/other', 'MODEL_NOT_SERVED'],
    [`/v2/models/${modelName}/versions/2`, 'MODEL_NOT_SERVED'],
    ['/v2/models/other/ready', 'MODEL_NOT_SERVED'],
    ['/v2/nothing', 'PATH_NOT_FOUND'],
    ['/../package.json', 'PATH_NOT_FOUND'],
  ])('%s is an error', async (path, code) => {
    const { status, json, headers } = await ask(server.url + path)
    expect([status, headers.get('Residual-Error')]).toEqual([404, code])
    expect(json).toEqual({ error: expect.stringMatching(new RegExp(`\\[${code}\\]$`)) })
  })
})

describe('infer', () => {
  it('answers pixels in JSON with all outputs, to the bit, and echoes id and parameters', async () => {
    const { status, json } = await inferJson(server, {
      id: 'my request',
      parameters: { priority: 3, 'my-key': 'my value', flag: false },
      inputs: [{ ...pixelInput, data: [...pixels] }],
    })
    expect(status).toBe(200)
    const expected = await classifier.run(pixels, { outputs: everything })
    expect(json).toEqual({
      model_name: modelName,
      model_version: '1',
      id: 'my request',
      parameters: { priority: 3, 'my-key': 'my value', flag: false },
      outputs: everything.map(name => ({
        name,
        datatype: 'FP32',
        shape: [2, expected[name].length / 2],
        data: [...expected[name]],
      })),
    })
  })

  it('accepts null for unset fields, as clients that write out every field send it', async () => {
    const request = { id: null, parameters: null, outputs: null }
    const input = { ...pixelInput, parameters: null, data: [...pixels] }
    const { status, json } = await inferJson(server, { ...request, inputs: [input] })
    expect(status).toBe(200)
    expect(Object.keys(json)).toEqual(['model_name', 'model_version', 'outputs'])
    const output = { name: 'logits', parameters: null }
    expect((await inferJson(server, { outputs: [output], inputs: [input] })).json.outputs).toHaveLength(1)
  })

  it('refuses non-finite values in JSON, which cannot express them, and sends them in binary', async () => {
    const values = Float32Array.from({ length: 3 * 64 * 64 }, (_, i) => (i % 2 === 0 ? 3e38 : -3e38))
    const input = { ...tensorInput, shape: [1, 3, 64, 64] }
    const { status, json } = await inferJson(server, { inputs: [{ ...input, data: [...values] }] })
    expect([status, json.error]).toEqual([
      400,
      expect.stringMatching(
        /^Element \d+ of the output 'logits' is -?(NaN|Infinity), which JSON cannot represent/,
      ),
    ])
    const parameters = { binary_data_output: true }
    const binary = await inferBinary(server, { parameters, inputs: [input] }, bytesOf(values))
    expect(binary.status).toBe(200)
    expect(binary.outputs.get('logits')!.bytes).toHaveLength(40)
  })

  it('accepts data nested like the shape', async () => {
    const nested = Array.from({ length: 64 }, (_, y) =>
      Array.from({ length: 64 }, (_, x) => [...pixels.subarray((y * 64 + x) * 3, (y * 64 + x) * 3 + 3)]),
    )
    const input = { ...pixelInput, shape: [1, ...imageShape] }
    const { json } = await inferJson(server, {
      inputs: [{ ...input, data: [nested] }],
      outputs: [{ name: 'logits' }],
    })
    expect(json.outputs[0].data).toEqual([...(await classifier.run(pixels.subarray(0, imageBytes))).logits])
    const planes = channelsFirst(floats.subarray(0, imageBytes), 1)
    const rows = (c: number) =>
      Array.from({ length: 64 }, (_, y) => [...planes.subarray((c * 64 + y) * 64, (c * 64 + y + 1) * 64)])
    const tensor = { ...tensorInput, shape: [1, 3, 64, 64], data: [[rows(0), rows(1), rows(2)]] }
    const answer = await inferJson(server, { inputs: [tensor], outputs: [{ name: 'logits' }] })
    expect(answer.json.outputs[0].data).toEqual([
      ...(await classifier.run(floats.subarray(0, imageBytes))).logits,
    ])
  })

  it.each([
    ['pixels', pixelInput, () => pixels, () => classifier.run(pixels, { outputs: everything })],
    [
      'normalised floats, channels first',
      tensorInput,
      () => bytesOf(channelsFirst(floats, 2)),
      () => classifier.run(floats, { outputs: everything }),
    ],
    [
      'encoded images',
      imageInput,
      () => bytesTensor(sampleImage('ship'), sampleImage('frog')),
      async () => {
        const [ship, frog] = await Promise.all(
          ['ship', 'frog'].map(name => classifier.prepare(sampleImage(name))),
        )
        return classifier.run(Buffer.concat([ship!.pixels, frog!.pixels]), { outputs: everything })
      },
    ],
  ])('takes %s in binary and answers in binary, to the bit', async (_, input, data, expected) => {
    const request = { inputs: [input], parameters: { binary_data_output: true } }
    const { status, outputs, rest, json } = await inferBinary(server, request, data())
    expect([status, rest]).toEqual([200, 0])
    for (const [name, values] of Object.entries(await expected())) {
      expect(outputs.get(name)).toMatchObject({ datatype: 'FP32', shape: [2, values.length / 2] })
      expect(Buffer.compare(outputs.get(name)!.bytes, bytesOf(values))).toBe(0)
    }
    expect(json.outputs[0]).not.toHaveProperty('data')
  })

  it('takes encoded images as base64 in JSON', async () => {
    const data = ['truck', 'deer'].map(name => sampleImage(name).toString('base64'))
    const outputs = [{ name: 'probabilities', parameters: { classification: 1 } }]
    const { json } = await inferJson(server, { inputs: [{ ...imageInput, data }], outputs })
    expect(json.outputs[0]).toMatchObject({ name: 'probabilities', datatype: 'BYTES', shape: [2, 1] })
    expect(json.outputs[0].data.map((text: string) => text.split(':').slice(1))).toEqual([
      ['9', 'truck'],
      ['4', 'deer'],
    ])
  })

  it('writes each output as requested: in binary, in JSON, as classes', async () => {
    const request = {
      inputs: [pixelInput],
      outputs: [
        { name: 'features', parameters: { classification: 2, binary_data: true, mine: 'kept' } },
        { name: 'logits', parameters: { binary_data: false } },
        { name: 'probabilities', parameters: { binary_data: true } },
      ],
    }
    const { json, outputs, rest } = await inferBinary(server, request, pixels)
    const expected = await classifier.run(pixels, { outputs: everything })
    expect(json.outputs.map((output: { name: string }) => output.name)).toEqual([
      'features',
      'logits',
      'probabilities',
    ])
    expect(json.outputs[0].parameters).toEqual({ mine: 'kept', binary_data_size: expect.any(Number) })
    expect(json.outputs[1].data).toEqual([...expected.logits])
    expect(Buffer.compare(outputs.get('probabilities')!.bytes, bytesOf(expected.probabilities))).toBe(0)
    const [first] = [...expected.features.subarray(0, 512).entries()].sort(([, a], [, b]) => b - a)
    const { shape, bytes } = outputs.get('features')!
    expect([shape, rest]).toEqual([[2, 2], 0])
    expect(bytes.toString('utf8', 4, 4 + bytes.readUInt32LE(0))).toBe(`${first![1]}:${first![0]}`)
  })

  it('accepts and sends packed bodies', async () => {
    const body = JSON.stringify({ inputs: [{ ...pixelInput, data: [...pixels] }] })
    const packed = { 'Content-Encoding': 'gzip', 'Accept-Encoding': 'identity' }
    const plain = await post(inferUrl(server), gzipSync(body), packed)
    expect(plain.status).toBe(200)
    expect(plain.headers.get('Content-Encoding')).toBe(null)
    const shouted = { 'Content-Encoding': 'GZIP', 'Accept-Encoding': 'deflate;q=0, gzip; q=0.0' }
    const unpacked = await post(inferUrl(server), gzipSync(body), shouted)
    expect([unpacked.json, unpacked.headers.get('Content-Encoding')]).toEqual([plain.json, null])
    const { request } = await import('node:http')
    const raw = await new Promise<Buffer>((resolve, reject) => {
      const sent = request(
        inferUrl(server),
        { method: 'POST', headers: { 'Accept-Encoding': 'br, gzip' } },
        async response => {
          expect(response.headers['content-encoding']).toBe('gzip')
          const { buffer } = await import('node:stream/consumers')
          resolve(await buffer(response))
        },
      )
      sent.on('error', reject).end(body)
    })
    expect(JSON.parse(gunzipSync(raw).toString())).toEqual(plain.json)
  })

  it('reports timings', async () => {
    const { headers } = await inferJson(server, { inputs: [{ ...pixelInput, data: [...pixels] }] })
    expect(headers.get('Server-Timing')).toMatch(/^decode;dur=[\d.]+, queue;dur=[\d.]+, compute;dur=[\d.]+$/)
  })
})

describe('an invalid request', () => {
  const data = [...pixels]
  const good = { inputs: [{ ...pixelInput, data }] }
  const oneImage = { ...imageInput, shape: [1] }
  it.each<[string, unknown, RegExp]>([
    ['no object', [], /not a JSON object/],
    ['no inputs', {}, /'inputs' must be a list/],
    ['an empty list of inputs', { inputs: [] }, /0 inputs/],
    ['two inputs', { inputs: [...good.inputs, ...good.inputs] }, /2 inputs/],
    ['an input without a name', { inputs: [{ data }] }, /Every input must have a 'name'/],
    ['an input that is null', { inputs: [null] }, /Every input must have a 'name'/],
    [
      'an unknown input',
      { inputs: [{ ...pixelInput, name: 'image', data }] },
      /no input 'image'; it has pictures, pixels, tensor/,
    ],
    ['another datatype', { inputs: [{ ...pixelInput, datatype: 'FP32', data }] }, /UINT8, not FP32/],
    ['no datatype', { inputs: [{ name: 'pixels', shape: [1], data }] }, /datatype/],
    ['no shape', { inputs: [{ name: 'pixels', datatype: 'UINT8', data }] }, /shape/],
    ['another shape', { inputs: [{ ...pixelInput, shape: [2, 3, 64, 64], data }] }, /shape \[2,3,64,64\]/],
    ['no images', { inputs: [{ ...pixelInput, shape: [0, 64, 64, 3], data: [] }] }, /shape \[0,64,64,3\]/],
    ['an enormous shape', { inputs: [{ ...pixelInput, shape: [1e15, 64, 64, 3], data }] }, /limit/],
    ['too few values', { inputs: [{ ...pixelInput, data: data.slice(1) }] }, /24575 values/],
    ['no data', { inputs: [pixelInput] }, /'data' .* must be a list/],
    [
      'values that are no bytes',
      { inputs: [{ ...pixelInput, data: [256, ...data.slice(1)] }] },
      /Element 0 .* 0 to 255/,
    ],
    [
      'values that are no numbers',
      { inputs: [{ ...pixelInput, data: ['1', ...data.slice(1)] }] },
      /Element 0 .* 0 to 255/,
    ],
    ['fractions as bytes', { inputs: [{ ...pixelInput, data: [...data.slice(1), 0.5] }] }, /Element 24575 /],
    [
      'floats beyond float32',
      { inputs: [{ ...tensorInput, data: [1e300, ...data.slice(1)] }] },
      /Element 0 .* must be finite/,
    ],
    ['nulls for floats', { inputs: [{ ...tensorInput, data: [null, ...data.slice(1)] }] }, /must be finite/],
    [
      'nested data of another shape',
      { inputs: [{ ...pixelInput, data: [[1, 2], [3]] }] },
      /a list of 2 where its shape says 64/,
    ],
    ['half nested data', { inputs: [{ ...pixelInput, data: [[], 3] }] }, /list of 0|neither flat nor nested/],
    ['text that is not base64', { inputs: [{ ...oneImage, data: ['an image!'] }] }, /base64/],
    ['an image that is a number', { inputs: [{ ...oneImage, data: [7] }] }, /base64/],
    [
      'binary data that are not there',
      { inputs: [{ ...pixelInput, parameters: { binary_data_size: 5 } }] },
      /requires the header Inference-Header-Content-Length/,
    ],
    ['an unknown output', { ...good, outputs: [{ name: 'featureMaps' }] }, /no output 'featureMaps'/],
    ['an output twice', { ...good, outputs: [{ name: 'logits' }, { name: 'logits' }] }, /twice/],
    ['outputs that are no list', { ...good, outputs: 'logits' }, /'outputs' must be a list/],
    ['an output that is a name', { ...good, outputs: ['logits'] }, /Every output must have a 'name'/],
    [
      'no number of classes',
      { ...good, outputs: [{ name: 'logits', parameters: { classification: 'all' } }] },
      /'classification'/,
    ],
    ['an id that is a number', { ...good, id: 7 }, /'id'/],
    ['parameters that are nested', { ...good, parameters: { deep: { deeper: [] } } }, /parameters/],
    ['a flag that is a number', { ...good, parameters: { binary_data_output: 1 } }, /must be true or false/],
    ['a timeout that is none', { ...good, parameters: { timeout: -1 } }, /microseconds/],
  ])('with %s says so', async (_, request, message) => {
    const { status, json, headers } = await inferJson(server, request as object)
    expect(Object.keys(json)).toEqual(['error'])
    expect(json.error).toMatch(message)
    expect([400, 413]).toContain(status)
    expect(headers.get('Residual-Error')).toMatch(status === 400 ? 'REQUEST_INVALID' : 'REQUEST_TOO_LARGE')
    expect(json.error).not.toMatch(/\bat .*\.[jt]s/) // no stack
  })

  it('with a base64 image that is too long or invalid says so', async () => {
    const say = async (text: string) =>
      (await inferJson(server, { inputs: [{ ...oneImage, data: [text] }] })).json.error
    expect(await say('A'.repeat(6_000_000))).toMatch(/DECODE_FAILED/)
    for (const text of ['A'.repeat(6_000_002), `${'A'.repeat(5_999_999)}!`, 'A===', '====', 'A=AA'])
      expect(await say(text)).toMatch(/base64/)
    for (const text of ['QQ==', 'QUE=', 'QUFB']) expect(await say(text)).toMatch(/DECODE_FAILED/)
  })

  it('gets a short answer however long the offending text is', async () => {
    const { status, json } = await inferJson(server, {
      inputs: [{ ...pixelInput, name: 'x'.repeat(60_000), data }],
    })
    expect([status, json.error]).toEqual([
      400,
      expect.stringMatching(/^The model has no input 'xxx.*…x.*it has pictures, pixels, tensor\. \[/),
    ])
    expect(json.error.length).toBeLessThan(600)
  })

  it('is told so when it is not JSON, or nothing at all', async () => {
    for (const body of ['', '{', 'null', '"x"', '[[[['.repeat(10_000), '\u0000'])
      expect(await post(inferUrl(server), body)).toMatchObject({ status: 400 })
    const { status, json } = await post(inferUrl(server), new Uint8Array([0xff, 0xfe]))
    expect([status, json.error]).toEqual([400, 'The body is not JSON. [REQUEST_INVALID]'])
  })

  it.each<[string, object, Uint8Array, Record<string, string>, RegExp]>([
    ['too few bytes', pixelInput, pixels.subarray(1), {}, /has 24575 bytes/],
    ['too many bytes', pixelInput, Buffer.concat([pixels, pixels]), {}, /has 49152 bytes/],
    [
      'a length that is no number',
      pixelInput,
      pixels,
      { 'Inference-Header-Content-Length': '-5' },
      /must be a number up to/,
    ],
    [
      'a length beyond the body',
      pixelInput,
      pixels,
      { 'Inference-Header-Content-Length': '999999' },
      /must be a number up to/,
    ],
    ['a length within the JSON', pixelInput, pixels, { 'Inference-Header-Content-Length': '20' }, /not JSON/],
    ['floats cut off', tensorInput, new Uint8Array(7), {}, /has 7 bytes/],
    [
      'not a number',
      tensorInput,
      bytesOf(new Float32Array(2 * imageBytes).fill(Number.NaN)),
      {},
      /must be finite/,
    ],
    [
      'an element longer than the rest',
      imageInput,
      Buffer.from([255, 255, 255, 255, 0]),
      {},
      /4294967295 bytes where 1/,
    ],
    ['half a length', imageInput, Buffer.from([1, 0]), {}, /a truncated length/],
    ['one element of two', imageInput, bytesTensor(Buffer.from('x')), {}, /1 elements/],
    [
      'an element too many',
      imageInput,
      bytesTensor(Buffer.from('x'), Buffer.from('y'), Buffer.from('z')),
      {},
      /5 bytes after/,
    ],
    [
      'bytes that are no image',
      imageInput,
      bytesTensor(Buffer.from('x'), Buffer.from('y')),
      {},
      /it is text, not an image.*DECODE_FAILED/,
    ],
    [
      'a body that is not packed',
      pixelInput,
      pixels,
      { 'Content-Encoding': 'gzip' },
      /The body is not valid gzip data/,
    ],
  ])('in binary with %s says so', async (_, input, tensor, extra, message) => {
    const { body, headers } = binaryRequest({ inputs: [input] }, tensor)
    const { status, json } = await post(inferUrl(server), body, { ...headers, ...extra })
    expect(status).toBe(400)
    expect(json.error).toMatch(message)
  })

  it('with an unknown encoding is told which ones are accepted', async () => {
    const { status, json, headers } = await post(inferUrl(server), pixels, { 'Content-Encoding': 'br' })
    expect([status, headers.get('Accept-Encoding')]).toEqual([415, 'gzip, deflate'])
    expect(json.error).toMatch(
      /'br' is not supported; supported are gzip, deflate\. \[ENCODING_UNSUPPORTED\]$/,
    )
  })

  it('with bytes that belong to no input, or with an input given twice, says so', async () => {
    const { body, headers } = binaryRequest({ inputs: [pixelInput] }, pixels)
    const longer = await post(inferUrl(server), Buffer.concat([body, Buffer.from('!')]), headers)
    expect(longer.json.error).toMatch(/1 bytes after the last input/)
    const both = binaryRequest({ inputs: [{ ...pixelInput, data: [1] }] }, pixels)
    expect((await post(inferUrl(server), both.body, both.headers)).json.error).toMatch(
      /in JSON or in binary, not both/,
    )
  })

  it('for a missing model says so', async () => {
    const { status, json } = await post(inferUrl(server, 'resnet99'), JSON.stringify(good))
    expect([status, json.error]).toEqual([404, expect.stringMatching(/'resnet99'.*has resnet50-cifar10/)])
  })
})
