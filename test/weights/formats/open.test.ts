import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
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
import { bin, call, dict, global, int, ints, pickle, torchTensor } from '../../support/pickle.ts'
import { torchZip, zip } from '../../support/zip.ts'

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

const lfs = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 102530333\n`

it.each<[title: string, name: string, bytes: Uint8Array | Promise<Uint8Array>, told: RegExp]>([
  ['text', 'a.xyz', Buffer.from('hello, world'), /begins with the bytes 68656c6c6f2c2077/],
  ['nothing', 'a.pth', Buffer.alloc(0), /it is empty.*get it again/],
  ['half a zip', 'a.xyz', Buffer.from('PK\x03\x04 and no more'), /zip/],
  ['JSON', 'a.xyz', Buffer.from('{"a": 1}'), /weight_map/],
  ['a web page', 'resnet50.pth', Buffer.from('\n<!DOCTYPE html>\n<html>'), /it is a web page.*residual pull/],
  ['a pointer of Git LFS', 'model.safetensors', Buffer.from(lfs), /Git LFS pointer.*git lfs pull/],
  ['a SavedModel', 'saved_model.pb', Buffer.of(8, 1, 0x12, 0x80, 2), /a TensorFlow graph.*tf2onnx/],
  [
    'an array of numpy',
    'a.npy',
    Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
    /a single numpy array.*safetensors\.numpy/,
  ],
  [
    'arrays of numpy',
    'a.npz',
    zip({ 'w.npy': Buffer.of(1) }),
    /an archive of numpy arrays.*safetensors\.numpy/,
  ],
  [
    'a program of torch.export',
    'a.pt2',
    zip({ 'a/archive_format': Buffer.from('pt2'), 'a/models/model.json': Buffer.from('{}') }),
    /exported by torch\.export.*state_dict/,
  ],
  ['a zip around a checkpoint', 'a.zip', zip({ 'resnet50.pth': Buffer.of(1) }), /Unpack it first/],
  [
    'a damaged .keras file, which has a file of weights in it',
    'a.keras',
    zip({ 'config.json': Buffer.from('{}'), 'model.weights.h5': Buffer.from('no HDF5') }),
    /is not a valid Keras archive file/,
  ],
  ['gzip', 'a.pth.gz', Buffer.of(0x1f, 0x8b, 8), /gzip\. Unpack it first/],
  [
    'the index of a sharded pytorch_model.bin',
    'pytorch_model.bin.index.json',
    Buffer.from('{"weight_map":{"a":"pytorch_model-00001-of-00002.bin"}}'),
    /PyTorch files, such as pytorch_model-00001-of-00002\.bin.*safe_serialization/,
  ],
  [
    'tensors by pickle.dump',
    'a.pkl',
    pickle(
      dict({
        w: call(
          global('torch._utils', '_rebuild_tensor_v2'),
          call(global('torch.storage', '_load_from_bytes'), bin(Buffer.of(1))),
          int(0),
          ints([1]),
          ints([1]),
        ),
      }),
    ),
    /written by pickle\.dump.*torch\.save/,
  ],
])('openCheckpoint says what a file is, and what to do: %s', async (_, name, bytes, told) => {
  const path = join(folder, name)
  writeFileSync(path, await bytes)
  await expect(openCheckpoint(path)).rejects.toMatchObject({
    code: 'CHECKPOINT_INVALID',
    message: expect.stringMatching(told),
  })
})

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

describe('what cannot be opened', () => {
  it('is told in a line, whatever the system says', async () => {
    const loop = join(folder, 'loop.pth')
    symlinkSync(loop, loop)
    const cases: [string, RegExp][] = [
      [loop, /its symbolic links form a loop/],
      [join(folder, 'x'.repeat(300)), /its name is too long/],
      [`data:image/png;base64,${'A'.repeat(1_000_000)}`, /its name is too long/],
    ]
    if (process.getuid?.() !== 0) {
      const closed = join(folder, 'closed.pth')
      writeFileSync(closed, 'x', { mode: 0 })
      cases.push([closed, /no permission/])
    }
    for (const [path, told] of cases)
      for (const open of [openModel, openCheckpoint]) {
        const error = (await open(path).catch((error: unknown) => error)) as Error
        expect(error).toMatchObject({ code: 'FILE_NOT_FOUND', message: expect.stringMatching(told) })
        expect(error.message.length).toBeLessThan(600)
      }
  })

  it.each([
    ['microsoft/resnet-50', '`residual pull microsoft/resnet-50`'],
    ['timm/resnet50.a1_in1k', '`residual pull timm/resnet50.a1_in1k`'],
    ['https://huggingface.co/microsoft/resnet-50', '`residual pull microsoft/resnet-50` downloads'],
    [
      'https://huggingface.co/a/b/resolve/v1/weights/best.safetensors?download=true',
      '`residual pull a/b@v1 weights/best.safetensors` downloads',
    ],
    ['https://huggingface.co/a/b/blob/main/model.bin', '`residual pull a/b model.bin` downloads'],
    ['https://example.org/resnet.pth', 'download the file first'],
  ])('points to pull where it is on a server: %s', async (model, told) => {
    await expect(openModel(model)).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: expect.stringContaining(told),
    })
  })

  it('is a SavedModel, or a folder without a checkpoint', async () => {
    const saved = join(folder, 'saved')
    mkdirSync(saved)
    await expect(openModel(saved)).rejects.toMatchObject({
      message: expect.stringContaining('contains none of'),
    })
    writeFileSync(join(saved, 'saved_model.pb'), '')
    await expect(openModel(saved)).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: expect.stringMatching(/a TensorFlow SavedModel.*tf2onnx/),
    })
  })
})
