import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Classifier, load } from '../../lib/index.ts'
import type { RunningServer } from '../../lib/server/index.ts'
import { modelName, post, sampleImage, startServer } from '../support/server.ts'

let server: RunningServer
let classifier: Classifier
beforeAll(async () => {
  const limits = { pixelsPerPicture: 1_000_000, bodyBytes: 2 ** 20, picturesPerRequest: 4 }
  server = await startServer({ threads: 2, limits })
  classifier = await load(modelName, { device: 'cpu', threads: 2 })
})
afterAll(async () => {
  await server.stop()
  await classifier.close()
})

const form = (files: { readonly [name: string]: Uint8Array }) => {
  const data = new FormData()
  for (const [name, bytes] of Object.entries(files)) data.append('image', new Blob([bytes]), name)
  return data
}

describe('POST /classify', () => {
  it('classifies the image in its body, as classify does, and reports timings', async () => {
    const bytes = sampleImage('ship')
    const { status, json } = await post(`${server.url}/classify`, bytes, { 'Content-Type': 'image/jpeg' })
    expect(status).toBe(200)
    const predictions = (await classifier.classify([bytes]))[0]
    const timings = {
      decodeMs: expect.any(Number),
      queueMs: expect.any(Number),
      computeMs: expect.any(Number),
    }
    expect(json).toEqual({ model: modelName, activation: 'softmax', results: [{ predictions, timings }] })
  })

  it('returns as many classes as requested, and the map of the first with the view of the network', async () => {
    const bytes = sampleImage('frog')
    const { json } = await post(`${server.url}/classify?topK=2&map=true&model=${modelName}`, bytes)
    const [{ predictions, map, view }] = json.results
    expect(predictions).toHaveLength(2)
    const prepared = await classifier.prepare(bytes)
    expect(view).toEqual(prepared.view)
    const { featureMaps } = await classifier.run(prepared.pixels, { outputs: ['featureMaps'] })
    const { map: expected, ...shape } = classifier.activationMap(featureMaps, predictions[0].index)
    expect(map).toEqual({ height: shape.height, width: shape.width, values: [...expected] })
  })

  it('accepts a form of several images, and answers each with its classes or its error', async () => {
    const files = {
      'a ship.jpg': sampleImage('ship'),
      'no.txt': Buffer.from('text'),
      'truck.jpg': sampleImage('truck'),
    }
    const { status, json } = await post(`${server.url}/classify`, form(files))
    expect(status).toBe(200)
    expect(json.results.map((result: { name: string }) => result.name)).toEqual(Object.keys(files))
    const [ship, none, truck] = json.results
    expect([ship.predictions[0].label, truck.predictions[0].label]).toEqual(['ship', 'truck'])
    expect(none).toEqual({
      name: 'no.txt',
      error: expect.stringMatching(/it is text, not an image\. \[DECODE_FAILED\]$/),
    })
  })

  it.each(['png', 'webp', 'gif', 'tiff', 'avif'] as const)('takes %s', async format => {
    const bytes = await sharp(sampleImage('truck')).toFormat(format).toBuffer()
    const { json } = await post(`${server.url}/classify`, bytes)
    expect(json.results[0].predictions).toEqual((await classifier.classify([bytes]))[0])
  })

  const svg = Buffer.from(
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><image href="file:///etc/hostname"/></svg>',
  )
  it.each<[string, string, () => Uint8Array | Promise<Uint8Array> | FormData, number, RegExp]>([
    ['nothing', '', () => new Uint8Array(), 400, /no body/],
    ['bytes that are no image', '', () => Buffer.from('not an image'), 400, /DECODE_FAILED/],
    [
      'half an image',
      '',
      () => sampleImage('ship').subarray(0, 3000),
      400,
      /cannot be decoded.*DECODE_FAILED/,
    ],
    ['an image that could refer to files', '', () => svg, 400, /DECODE_FAILED/],
    [
      'too many pixels',
      '',
      () =>
        sharp({ create: { width: 2000, height: 600, channels: 3, background: 'red' } })
          .png()
          .toBuffer(),
      413,
      /limit of 1000000 pixels.*PICTURE_TOO_LARGE/,
    ],
    [
      'too many bytes',
      '',
      () => new Uint8Array(2 ** 20 + 1),
      413,
      /limit of 1048576 bytes.*REQUEST_TOO_LARGE/,
    ],
    ['an empty form', '', () => form({}), 400, /no files|malformed/],
    [
      'a form of nothing but text',
      '',
      () => form({ 'a.txt': Buffer.from('a'), 'b.txt': Buffer.from('b') }),
      400,
      /DECODE_FAILED/,
    ],
    [
      'too many images',
      '',
      () => form(Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`${i}.jpg`, sampleImage('ship')]))),
      413,
      /REQUEST_TOO_LARGE/,
    ],
    [
      'a form that is too large',
      '',
      () => form({ a: new Uint8Array(2 ** 19), b: new Uint8Array(2 ** 19 + 1) }),
      413,
      /REQUEST_TOO_LARGE/,
    ],
    ['a number that is none', '?topK=many', () => sampleImage('ship'), 400, /'topK'/],
    ['no classes', '?topK=0', () => sampleImage('ship'), 400, /'topK'/],
    ['a flag that is none', '?map=1', () => sampleImage('ship'), 400, /'map'/],
    [
      'an unknown parameter',
      '?path=/etc/hostname',
      () => sampleImage('ship'),
      400,
      /Unknown parameter 'path'/,
    ],
    ['a parameter twice', '?model=a&model=b', () => sampleImage('ship'), 400, /must be given once/],
    ['an unknown model', '?model=../../secret', () => sampleImage('ship'), 404, /MODEL_NOT_SERVED/],
  ])('refuses %s', async (_, query, body, status, message) => {
    const answer = await post(`${server.url}/classify${query}`, await body())
    expect(answer.json).toEqual({ error: expect.stringMatching(message) })
    expect(answer.status).toBe(status)
  })

  it('refuses text in place of a file in a form', async () => {
    const data = form({ 'ship.jpg': sampleImage('ship') })
    data.append('topK', '3')
    const { status, json } = await post(`${server.url}/classify`, data)
    expect([status, json.error]).toEqual([400, expect.stringMatching(/'topK' of the form must be a file/)])
  })

  it('refuses malformed forms', async () => {
    for (const [body, type] of [
      ['nonsense', 'multipart/form-data; boundary=x'],
      [
        '--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nabc',
        'multipart/form-data; boundary=x',
      ],
      ['--x--', 'multipart/form-data'],
      [
        '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\ntext\r\n--x--\r\n',
        'multipart/form-data; boundary=x',
      ],
    ] as const) {
      const { status, json } = await post(`${server.url}/classify`, body, { 'Content-Type': type })
      expect(json).toEqual({
        error: expect.stringMatching(/\[(REQUEST_INVALID|DECODE_FAILED|REQUEST_TOO_LARGE)\]$/),
      })
      expect([400, 413]).toContain(status)
    }
  })
})
