import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { type Classifier, load } from '../../lib/index.ts'
import type { RunningServer } from '../../lib/server/index.ts'
import { seeded } from '../support/files.ts'
import { runPythonFile } from '../support/python.ts'
import { channelsFirst, imageBytes, modelName, sampleImage, startServer } from '../support/server.ts'

const count = 3
const everything = ['logits', 'probabilities', 'features'] as const

let server: RunningServer
let classifier: Classifier
let folder: string
let manifest: string
beforeAll(async () => {
  server = await startServer({ threads: 2, grpcPort: 0, repository: true })
  classifier = await load(modelName, { device: 'cpu', threads: 2 })
  folder = await mkdtemp(join(tmpdir(), 'residual-clients-'))
  manifest = join(folder, 'manifest.json')
  await writeFile(manifest, JSON.stringify(await describeWork()))
})
afterAll(async () => {
  await server.stop()
  await classifier.close()
  await rm(folder, { recursive: true })
})

/** What the scripts send, and what must come back: by `Classifier.run`, not by the server. */
async function describeWork(): Promise<object> {
  const random = seeded(11)
  const pixels = Uint8Array.from({ length: count * imageBytes }, () => random() * 256)
  const floats = Float32Array.from({ length: count * imageBytes }, () => random() * 4 - 2) // [N,H,W,3]
  const images = ['ship', 'frog', 'truck'].map(sampleImage)
  const prepared = await Promise.all(images.map(image => classifier.prepare(image)))
  const bytesOf = (values: Float32Array) =>
    Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64')
  const run = async (input: Uint8Array | Float32Array) => {
    const outputs = await classifier.run(input, { outputs: everything })
    return Object.fromEntries(everything.map(name => [name, bytesOf(outputs[name])]))
  }
  return {
    http: server.url.replace('http://', ''),
    grpc: `127.0.0.1:${server.grpcPort}`,
    model: modelName,
    labels: classifier.labels,
    count,
    pixels: Buffer.from(pixels).toString('base64'),
    tensor: bytesOf(channelsFirst(floats, count)),
    pictures: images.map(image => image.toString('base64')),
    expected: {
      pictures: await run(Buffer.concat(prepared.map(({ pixels }) => pixels))),
      pixels: await run(pixels),
      tensor: await run(floats),
    },
    classes: (await classifier.classify(images, { topK: 3 })).map(found =>
      found.map(({ probability, index, label }) => `${probability}:${index}:${label}`),
    ),
  }
}

/** Runs a script and returns the names of its checks, all of which have passed. */
const check = async (script: string): Promise<string[]> =>
  (await runPythonFile(join(packageRoot, 'test', 'support', 'clients', script), manifest)).trim().split('\n')

const aboutServer = ['health_and_metadata', 'statistics_and_repository']
const aboutRequests = [
  'every_datatype',
  'outputs',
  'compression',
  'parameters',
  'shared_memory',
  'many_at_once',
  'with_asyncio',
  'image_classification',
]

describe("Triton's clients", () => {
  it('get the right answers over HTTP, in every encoding, to the bit', async () => {
    expect(await check('triton_http.py')).toEqual([...aboutServer, 'every_encoding', ...aboutRequests])
  }, 120_000)

  it('get the right answers over gRPC, raw and typed, to the bit', async () => {
    const inputs = ['every_input', 'typed_contents']
    expect(await check('triton_grpc.py')).toEqual([...aboutServer, ...inputs, ...aboutRequests, 'stream'])
  }, 120_000)
})

describe("KServe's clients", () => {
  it('get the right answers over REST and gRPC, in every encoding, to the bit', async () => {
    const checks = ['health', 'inference', 'refusals']
    expect(await check('kserve_clients.py')).toEqual(
      ['rest', 'grpc'].flatMap(protocol => checks.map(each => `${protocol}_${each}`)),
    )
  }, 120_000)
})
