import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  load,
  networkToOnnx,
  openCheckpoint,
  openModel,
  resnet,
  type WeightSource,
} from '../../../lib/index.ts'
import { safetensors, temporaryFolder } from '../../support/files.ts'
import { goldenWeights, relativeError } from '../../support/golden.ts'
import { dict, pickle, torchTensor } from '../../support/pickle.ts'
import { torchZip } from '../../support/zip.ts'

const folder = temporaryFolder()
const network = resnet({ layers: 50, classes: 5, width: 1 / 16, stride: 'v1' })
const weights = goldenWeights(network)
const pixels = Uint8Array.from({ length: 224 * 224 * 3 }, (_, i) => (i * 7919) % 251)
const stride = { architecture: { stride: 'v1' } } as const // which no file but ONNX tells

const bytesOf = async (source: WeightSource, name: string) => Buffer.from((await source.read(name)).buffer)

async function safetensorsOf(names: readonly string[]): Promise<Buffer> {
  const header: { [name: string]: object } = {}
  const data: number[] = []
  for (const name of names) {
    const bytes = await bytesOf(weights, name)
    header[name] = {
      dtype: 'F32',
      shape: weights.shape(name),
      data_offsets: [data.length, data.length + bytes.length],
    }
    for (const byte of bytes) data.push(byte)
  }
  return safetensors(header, data)
}

async function writeShards(): Promise<string> {
  const names = [...weights.names()]
  const shards = { 'a.safetensors': names.slice(0, 100), 'b.safetensors': names.slice(100) }
  const map: { [name: string]: string } = {}
  for (const [shard, own] of Object.entries(shards)) {
    writeFileSync(join(folder, shard), await safetensorsOf(own))
    for (const name of own) map[name] = shard
  }
  const path = join(folder, 'model.safetensors.index.json')
  writeFileSync(path, JSON.stringify({ weight_map: map }))
  return path
}

async function writeTorch(): Promise<string> {
  const tensors: { [name: string]: string | Buffer } = {}
  const storages: { [key: string]: Buffer } = {}
  for (const [i, name] of [...weights.names()].entries()) {
    const bytes = await bytesOf(weights, name)
    const shape = [...weights.shape(name)!]
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1))
    tensors[`module.${name}`] = torchTensor({
      key: String(i),
      numbers: bytes.length / 4,
      shape,
      strides,
    }) as Buffer
    storages[i] = bytes
  }
  const path = join(folder, 'checkpoint.whatever')
  writeFileSync(path, await torchZip(pickle(dict({ state_dict: dict(tensors as never) })), storages))
  return path
}

async function writeOnnx(): Promise<string> {
  const path = join(folder, 'model.onnx')
  writeFileSync(path, await networkToOnnx(network, weights, { height: 224, width: 224 }))
  return path
}

describe('load()', () => {
  it.each([
    ['safetensors in several files', writeShards, stride],
    ['a PyTorch zip of any name, with prefixes', writeTorch, stride],
    ['ONNX, which tells the stride too', writeOnnx, {}],
  ] as const)('takes %s, with the same logits', async (_, write, options) => {
    const plain = join(folder, 'plain.safetensors')
    writeFileSync(plain, await safetensorsOf([...weights.names()]))
    await using reference = await load(plain, { device: 'cpu', ...stride })
    await using classifier = await load(await write(), { device: 'cpu', ...options })
    const { logits } = await reference.run(pixels)
    expect(logits).toHaveLength(5)
    expect(relativeError((await classifier.run(pixels)).logits, logits)).toBeLessThan(1e-6)
  })
})

it.each([
  ['safetensors in several files', writeShards],
  ['a PyTorch zip', writeTorch],
  ['ONNX', writeOnnx],
] as const)(
  // biome-ignore format: short
  'tensors of %s are read into an array that is given, if it is as long',
  async (_, write) => {
    await using model = await openModel(await write())
    for (const name of ['conv1.weight', 'fc.weight', 'bn1.running_mean']) {
      const expected = await weights.read(name)
      const memory = new Float32Array(expected.length + 9).fill(7)
      const into = memory.subarray(4, 4 + expected.length)
      const result = await model.weights.read(name, into)
      expect(result).toEqual(expected)
      if (name === 'conv1.weight') expect(result).toBe(into)
      expect([...memory.subarray(0, 4), ...memory.subarray(-5)]).toEqual(Array(9).fill(7))
      const other = new Float32Array(expected.length + 1)
      expect(await model.weights.read(name, other)).toEqual(expected)
      expect(other).toEqual(new Float32Array(expected.length + 1))
    }
  },
)

it('openCheckpoint says that a file is empty, whatever it is called', async () => {
  for (const name of ['nothing', 'model.pdparams', 'model.safetensors', 'model.onnx']) {
    const path = join(folder, name)
    writeFileSync(path, '')
    await expect(openCheckpoint(path)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('it is empty'),
    })
  }
})

it('openCheckpoint refuses what is no checkpoint, by what it begins with', async () => {
  const path = join(folder, 'nothing.xyz')
  for (const [bytes, told] of [
    [Buffer.from('hello, world'), 'begins with the bytes 68656c6c6f2c2077'],
    [Buffer.alloc(0), 'it is empty'],
    [Buffer.from('PK\x03\x04 and no more'), 'zip'],
    [Buffer.from('{"a": 1}'), 'weight_map'],
  ] as const) {
    writeFileSync(path, bytes)
    await expect(openCheckpoint(path)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(told),
    })
  }
})
