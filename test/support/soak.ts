// Many clients against a server at once: requests of every kind and size, each answer compared with that of a lone run.
import { Agent, request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import sharp from 'sharp'
import type { Classifier } from '../../lib/index.ts'
import { seeded } from './files.ts'
import {
  binaryRequest,
  bytesTensor,
  channelsFirst,
  imageBytes,
  imageShape,
  modelName,
  sampleImage,
} from './server.ts'

/** An image, and what the network alone makes of it. */
interface Item {
  readonly encoded?: Buffer
  readonly pixels: Uint8Array | Float32Array
  /** `[classes]`, `[classes]`, `[C]`, one after the other in the requested order. */
  readonly expected: { readonly [name in (typeof outputs)[number]]: Buffer }
}

const outputs = ['logits', 'probabilities', 'features'] as const
const names = ['airplane', 'automobile', 'deer', 'frog', 'ship', 'truck']

export interface SoakResult {
  readonly answered: number
  /** What was wrong with answers, and requests without one. */
  readonly wrong: readonly string[]
  readonly images: number
  readonly kinds: { readonly [kind: string]: number }
}

/**
 * Sends `requests` from `connections` connections. Afterwards every answer has been compared to the bit with `classifier`'s,
 * run an image at a time before.
 */
export async function soak(
  url: string,
  classifier: Classifier,
  options: { requests: number; connections: number; seed?: number; onProgress?: (answered: number) => void },
): Promise<SoakResult> {
  const random = seeded(options.seed ?? 1)
  const below = (n: number) => Math.floor(random() * n)
  const [images, floats] = await Promise.all([imageItems(classifier, random), floatItems(classifier, random)])
  const wrong: string[] = []
  const kinds: { [kind: string]: number } = {}
  let [sent, answered, count] = [0, 0, 0]

  const client = async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    while (sent < options.requests) {
      const id = `request ${sent++}`
      const kind = requestKinds[below(requestKinds.length)]!
      const pool = kind.floats ? floats : images
      const items = Array.from({ length: 1 + below(kind.most) }, () => pool[below(pool.length)]!)
      count += items.length
      kinds[kind.name] = (kinds[kind.name] ?? 0) + 1
      try {
        const { path, body, headers } = kind.write(id, items)
        const answer = await send(agent, url + path, body, headers)
        const problem =
          answer.status === 200
            ? kind.check(answer, id, items, classifier)
            : `status ${answer.status}: ${answer.body}`
        if (problem !== undefined) wrong.push(`${id}, ${kind.name}: ${problem}`)
      } catch (error) {
        wrong.push(`${id}, ${kind.name}: ${error}`)
      }
      answered++
      options.onProgress?.(answered)
    }
    agent.destroy()
  }
  await Promise.all(Array.from({ length: options.connections }, client))
  return { answered, wrong, images: count, kinds }
}

interface Raw {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: Buffer
}

interface RequestKind {
  readonly name: string
  readonly floats?: boolean
  /** Images in a request. */
  readonly most: number
  write(
    id: string,
    items: readonly Item[],
  ): { path: string; body: string | Uint8Array; headers: { [name: string]: string } }
  /** What is wrong with an answer. */
  check(answer: Raw, id: string, items: readonly Item[], classifier: Classifier): string | undefined
}

const inferPath = `/v2/models/${modelName}/infer`
const jsonHeaders = { 'Content-Type': 'application/json' }
const inBinary = { parameters: { binary_data_output: true } }
const pixelInput = (items: readonly Item[]) => ({
  name: 'pixels',
  datatype: 'UINT8',
  shape: [items.length, ...imageShape],
})
const imageInput = (items: readonly Item[]) => ({
  name: 'pictures',
  datatype: 'BYTES',
  shape: [items.length],
})
const join = (items: readonly Item[]) => Buffer.concat(items.map(({ pixels }) => pixels as Uint8Array))
const wanted = { outputs: outputs.map(name => ({ name })) }

const requestKinds: readonly RequestKind[] = [
  {
    name: 'pixels in binary',
    most: 12,
    write: (id, items) => ({
      path: inferPath,
      ...binaryRequest({ id, ...inBinary, ...wanted, inputs: [pixelInput(items)] }, join(items)),
    }),
    check: checkBinary,
  },
  {
    name: 'floats in binary',
    floats: true,
    most: 6,
    write: (id, items) => {
      const tensor = Buffer.concat(items.map(({ pixels }) => new Uint8Array(channelsFirst(pixels, 1).buffer)))
      const input = { name: 'tensor', datatype: 'FP32', shape: [items.length, 3, 64, 64] }
      return { path: inferPath, ...binaryRequest({ id, ...inBinary, ...wanted, inputs: [input] }, tensor) }
    },
    check: checkBinary,
  },
  {
    name: 'pictures in binary',
    most: 4,
    write: (id, items) => {
      const tensor = bytesTensor(...items.map(({ encoded }) => encoded!))
      return {
        path: inferPath,
        ...binaryRequest({ id, ...inBinary, ...wanted, inputs: [imageInput(items)] }, tensor),
      }
    },
    check: checkBinary,
  },
  {
    name: 'pixels in JSON',
    most: 2,
    write: (id, items) => ({
      path: inferPath,
      headers: jsonHeaders,
      body: JSON.stringify({ id, ...wanted, inputs: [{ ...pixelInput(items), data: [...join(items)] }] }),
    }),
    check: checkJson,
  },
  {
    name: 'pictures in JSON',
    most: 3,
    write: (id, items) => {
      const data = items.map(({ encoded }) => encoded!.toString('base64'))
      return {
        path: inferPath,
        headers: jsonHeaders,
        body: JSON.stringify({ id, ...wanted, inputs: [{ ...imageInput(items), data }] }),
      }
    },
    check: checkJson,
  },
  {
    name: 'classify',
    most: 1,
    write: (_, [item]) => ({
      path: '/classify?topK=10',
      headers: { 'Content-Type': 'image/jpeg' },
      body: item!.encoded!,
    }),
    check: checkPredictions,
  },
  {
    name: 'classify a form',
    most: 4,
    write: (_, items) => {
      const parts = items.flatMap(({ encoded }, i) => [
        Buffer.from(`--boundary\r\nContent-Disposition: form-data; name="p"; filename="${i}"\r\n\r\n`),
        encoded!,
        Buffer.from('\r\n'),
      ])
      return {
        path: '/classify?topK=10',
        headers: { 'Content-Type': 'multipart/form-data; boundary=boundary' },
        body: Buffer.concat([...parts, Buffer.from('--boundary--\r\n')]),
      }
    },
    check: checkPredictions,
  },
]

function checkBinary({ headers, body }: Raw, id: string, items: readonly Item[]): string | undefined {
  const length = Number(headers['inference-header-content-length'])
  const json = JSON.parse(body.toString('utf8', 0, length))
  if (json.id !== id) return `the answer to ${json.id}`
  const expected = Buffer.concat(outputs.flatMap(name => items.map(item => item.expected[name])))
  return expected.equals(body.subarray(length)) ? undefined : 'other values'
}

function checkJson({ body }: Raw, id: string, items: readonly Item[]): string | undefined {
  const json = JSON.parse(body.toString())
  if (json.id !== id) return `the answer to ${json.id}`
  for (const [i, name] of outputs.entries()) {
    const values = Buffer.from(Float32Array.from(json.outputs[i].data as number[]).buffer)
    if (!values.equals(Buffer.concat(items.map(item => item.expected[name])))) return `other ${name}`
  }
  return undefined
}

function checkPredictions(
  { body }: Raw,
  _: string,
  items: readonly Item[],
  classifier: Classifier,
): string | undefined {
  const { results } = JSON.parse(body.toString())
  for (const [i, { expected }] of items.entries()) {
    const bytes = expected.probabilities
    const probabilities = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
    const predictions = JSON.stringify(classifier.top(probabilities, 10))
    if (JSON.stringify(results[i]?.predictions) !== predictions) return `other predictions of image ${i}`
  }
  return undefined
}

/** The project's images in several formats and sizes. */
async function imageItems(classifier: Classifier, random: () => number): Promise<Item[]> {
  const items: Item[] = []
  for (const name of names)
    for (const format of ['jpeg', 'png', 'webp', 'gif'] as const) {
      const size = { width: 40 + Math.floor(random() * 400), height: 40 + Math.floor(random() * 300) }
      const encoded = await sharp(sampleImage(name))
        .resize({ ...size, fit: 'fill' })
        .toFormat(format)
        .toBuffer()
      const { pixels } = await classifier.prepare(encoded)
      items.push({ encoded, pixels, expected: await runAlone(classifier, pixels) })
    }
  return items
}

async function floatItems(classifier: Classifier, random: () => number): Promise<Item[]> {
  const items: Item[] = []
  for (let i = 0; i < 12; i++) {
    const pixels = Float32Array.from({ length: imageBytes }, () => random() * 4 - 2)
    items.push({ pixels, expected: await runAlone(classifier, pixels) })
  }
  return items
}

async function runAlone(
  classifier: Classifier,
  pixels: Uint8Array | Float32Array,
): Promise<Item['expected']> {
  const values = await classifier.run(pixels, { outputs })
  const entries = outputs.map(name => [name, Buffer.from(values[name].buffer)])
  return Object.fromEntries(entries) as Item['expected']
}

function send(
  agent: Agent,
  url: string,
  body: string | Uint8Array,
  headers: { [name: string]: string },
): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const length = { 'Content-Length': Buffer.byteLength(body) }
    const sent = request(url, { agent, method: 'POST', headers: { ...headers, ...length } }, response => {
      buffer(response).then(
        body => resolve({ status: response.statusCode!, headers: response.headers, body }),
        reject,
      )
    })
    sent.on('error', reject).end(body)
  })
}
