import { readSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  type Checkpoint,
  createSession,
  fromTensors,
  initialise,
  lower,
  type NamedTensor,
  openCheckpoint,
  openModel,
  parametersOf,
  resnet,
  saveModel,
} from '../../lib/index.ts'
import type { Plan } from '../../lib/model/plan.ts'
import { loadWeights } from '../../lib/runtime/load-weights.ts'
import type { NativeSession } from '../../lib/runtime/native.ts'
import type { StoredTensor } from '../../lib/weights/checkpoint/stored-tensor.ts'
import { keepStored } from '../../lib/weights/stored-source.ts'
import { type FloatType, storedBytes, toFloat32 } from '../../lib/weights/tensors/stored-type.ts'
import { safetensors, seeded, temporaryFolder } from '../support/files.ts'
import { smallOnnx } from '../support/onnx.ts'
import { encodeWith, encodings, external } from '../support/onnx-tensors.ts'
import * as p from '../support/pickle.ts'
import { lively } from '../support/schemes.ts'
import { oneTensor, plainTorch, torchZip, withoutChecksums } from '../support/zip.ts'

const folder = temporaryFolder()
const written = (name: string, bytes: Uint8Array): string => {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}
const numbers = Float32Array.of(1, -2, 3.5, 0.25, -5, 6)
const bytes = Buffer.from(numbers.buffer)
const view = { key: '0', numbers: 6, shape: [2, 3], strides: [3, 1] }
const [half, bfloat] = [Buffer.from('003c00c0', 'hex'), Buffer.from('803f00c0', 'hex')] // 1, -2

const storedIn = (file: Checkpoint, name: string): StoredTensor | undefined => file.stored?.(name)

/** What whoever reads from the place by itself gets. */
function readAt({ place, type }: StoredTensor, length: number): Float32Array {
  const target = new Uint8Array(length * storedBytes[type])
  expect(readSync(place.descriptor, target, 0, target.length, place.position)).toBe(target.length)
  const result = new Float32Array(length)
  toFloat32(type as FloatType, target, result)
  return result
}

const small = smallOnnx()
const onnx = (encoding: keyof typeof encodings) => encodeWith(small, () => encodings[encoding])
const dense = small.initializers.find(({ name }) => name === 'fc.w')!

describe('A tensor lies as it is', () => {
  const plainKeys = p.pickle(p.list(p.str('0')))
  const count = Buffer.from(new BigUint64Array([6n]).buffer)
  it.each<[title: string, name: string, make: () => Uint8Array | Promise<Uint8Array>]>([
    ['in a PyTorch zip', 'w', () => oneTensor(view, bytes)],
    [
      'in part of a storage',
      'w',
      () => oneTensor({ ...view, shape: [2, 2], strides: [2, 1], offset: 2 }, bytes),
    ],
    [
      'where dimensions of one have any strides',
      'w',
      () => oneTensor({ ...view, shape: [1, 6, 1], strides: [77, 1, 0] }, bytes),
    ],
    [
      'of halves',
      'w',
      () => oneTensor({ ...view, numbers: 2, shape: [2], strides: [1], type: 'HalfStorage' }, half),
    ],
    [
      'of bfloat16',
      'w',
      () => oneTensor({ ...view, numbers: 2, shape: [2], strides: [1], type: 'BFloat16Storage' }, bfloat),
    ],
    [
      'in an older PyTorch file',
      'w',
      () => plainTorch(p.pickle(p.dict({ w: p.torchTensor(view, true) })), plainKeys, count, bytes),
    ],
    [
      'in a Paddle file',
      'w',
      () => p.pickle(p.dict({ w: p.numpyArray([2, 3], p.numpyType('f4'), p.bin(bytes)) })),
    ],
    ['in an ONNX file, raw', 'fc.weight', () => onnx('raw')],
    ['in an ONNX file, packed', 'fc.weight', () => onnx('float_data')],
    ['in an ONNX file, raw halves', 'fc.weight', () => onnx('raw fp16')],
  ])('%s', async (_, name, make) => {
    await using file = await openCheckpoint(written('as-it-is', await make()))
    const stored = storedIn(file, name)!
    await stored.check?.()
    expect(readAt(stored, file.tensors.get(name)!.length)).toEqual(await file.read(name))
  })

  it('in one of several safetensors files', async () => {
    const header = { w: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] } }
    written('one.safetensors', safetensors(header, bytes))
    written('two.safetensors', safetensors({ v: header.w }, Buffer.from(bytes).reverse()))
    const map = { w: 'one.safetensors', v: 'two.safetensors' }
    const index = written('index.json', Buffer.from(JSON.stringify({ weight_map: map })))
    await using file = await openCheckpoint(index)
    for (const name of ['w', 'v']) expect(readAt(storedIn(file, name)!, 6)).toEqual(await file.read(name))
    expect(await file.readTogether!(['v', 'w', 'v'])).toEqual([
      await file.read('v'),
      numbers,
      await file.read('v'),
    ])
  })

  it('in a file beside an ONNX file', async () => {
    written('weights.bin', Buffer.concat([Buffer.alloc(12), Buffer.from(dense.data.buffer)]))
    const where = { location: 'weights.bin', offset: '12', length: `${dense.data.byteLength}` }
    const model = encodeWith(small, ({ name }) => (name === 'fc.w' ? external(where) : encodings.raw))
    await using file = await openCheckpoint(written('beside.onnx', model))
    expect(readAt(storedIn(file, 'fc.weight')!, dense.data.length)).toEqual(dense.data)
  })
})

describe('A tensor is more than its bytes', () => {
  it.each<[title: string, name: string, make: () => Uint8Array | Promise<Uint8Array>]>([
    ['where it is transposed', 'w', () => oneTensor({ ...view, strides: [1, 2] }, bytes)],
    ['where it is expanded', 'w', () => oneTensor({ ...view, strides: [0, 1] }, bytes)],
    ['where it is of integers', 'w', () => oneTensor({ ...view, type: 'IntStorage' }, bytes)],
    [
      'in the other byte order',
      'w',
      () =>
        torchZip(
          p.pickle(p.dict({ w: p.torchTensor(view) })),
          { 0: bytes },
          { 'model/byteorder': Buffer.from('big') },
        ),
    ],
    [
      'as encoded text',
      'w',
      () => p.pickle(p.dict({ w: p.numpyArray([2, 3], p.numpyType('f4'), p.encoded(bytes)) })),
    ],
    [
      'in columns',
      'w',
      () => p.pickle(p.dict({ w: p.numpyArray([2, 3], p.numpyType('f4'), p.bin(bytes), true) })),
    ],
    ['in ONNX as integers', 'fc.weight', () => onnx('fp16 in int32_data')],
    ['where there is none of that name', 'nothing', () => oneTensor(view, bytes)],
  ])('%s', async (_, name, make) => {
    await using file = await openCheckpoint(written('more', await make()))
    expect(storedIn(file, name)).toBeUndefined()
  })
})

describe('A network', () => {
  const side = 40
  const architecture = { layers: 18, width: 0.125, classes: 5 } as const
  const network = resnet(architecture)
  const random = seeded(3)
  const image = Float32Array.from({ length: side * side * 3 }, () => random() * 4 - 2)
  const plan = lower(network, { height: side, width: side, mean: [0, 0, 0], std: [1, 1, 1] })
  const options = { device: 'cpu', threads: 1, exact: true, maxBatch: 1 } as const

  const torchFile = (tensors: readonly NamedTensor[]) => {
    const views = tensors.map(({ name, shape, data }, i) => {
      const strides = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, 1))
      return [name, p.torchTensor({ key: `${i}`, numbers: data.length, shape, strides })]
    })
    const storages = tensors.map(({ data }, i) => [
      i,
      Buffer.from(data.buffer, data.byteOffset, data.byteLength),
    ])
    return torchZip(p.pickle(p.dict(Object.fromEntries(views))), Object.fromEntries(storages))
  }
  const tensorsOf = () => lively(network, initialise(parametersOf(network), 7))
  const logitsOf = async (path: string) => {
    await using model = await openModel(path)
    await using session = await createSession(plan, model.weights, options)
    return (await session.run(image)).logits
  }

  it('computes the same from a zip as from memory and safetensors', async () => {
    const tensors = await tensorsOf()
    const weights = fromTensors(new Map(tensors.map(tensor => [tensor.name, tensor])))
    await using session = await createSession(plan, weights, options)
    const { logits } = await session.run(image)
    const path = join(folder, 'same.safetensors')
    await saveModel(path, { architecture, weights })
    const zip = await torchFile(tensors)
    expect(await logitsOf(path)).toEqual(logits)
    expect(await logitsOf(written('same.pth', zip))).toEqual(logits)
    expect(await logitsOf(written('unsummed.pth', withoutChecksums(zip)))).toEqual(logits)
  })

  it('refuses a zip of which a number is not what it was', async () => {
    const tensors = await tensorsOf()
    const zip = await torchFile(tensors)
    const at = tensors.findIndex(({ name }) => name === 'layer4.1.conv2.weight')
    const { data } = tensors[at]!
    const damaged = zip.indexOf(Buffer.from(data.buffer, data.byteOffset, data.byteLength)) + 4000
    zip[damaged]! ^= 1
    await expect(logitsOf(written('damaged.pth', zip))).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(`its 'model/data/${at}' is damaged`),
    })
  })
})

describe('A file that changes while the addon reads it, when all else has been read,', () => {
  const [weight, bias] = [
    Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    Float32Array.of(1, 2, 3),
  ]
  const [weightBytes, biasBytes] = [weight, bias].map(({ buffer }) => Buffer.from(buffer)) as [Buffer, Buffer]
  const flat = { dtype: 'F32', shape: [3, 5], data_offsets: [0, 60] }
  const torch = (plain: boolean) =>
    p.pickle(
      p.dict({
        'fc.weight': p.torchTensor({ key: '0', numbers: 15, shape: [3, 5], strides: [5, 1] }, plain),
        'fc.bias': p.torchTensor({ key: '1', numbers: 3, shape: [3], strides: [1] }, plain),
      }),
    )
  const both = () =>
    safetensors(
      { 'fc.weight': flat, 'fc.bias': { dtype: 'F32', shape: [3], data_offsets: [60, 72] } },
      Buffer.concat([weightBytes, biasBytes]),
    )
  const op = { kind: 'linear', name: 'fc', src: 0, dst: 1 }
  const linearPlan = { values: [{ channels: 5 }, { channels: 3 }], ops: [op] } as unknown as Plan

  /** The file that is opened, and the one that changes. */
  const files: { readonly [kind: string]: () => Promise<readonly [string, string]> } = {
    safetensors: async () => {
      const path = written('whole.safetensors', both())
      return [path, path]
    },
    shard: async () => {
      const map = { 'fc.weight': 'whole.safetensors', 'fc.bias': 'whole.safetensors' }
      const index = written('whole.index.json', Buffer.from(JSON.stringify({ weight_map: map })))
      return [index, written('whole.safetensors', both())]
    },
    'PyTorch zip': async () => {
      const path = written('whole.pth', await torchZip(torch(false), { 0: weightBytes, 1: biasBytes }))
      return [path, path]
    },
    ONNX: async () => {
      const path = written('whole.onnx', onnx('raw'))
      return [path, path]
    },
    'file beside an ONNX file': async () => {
      const where = { location: 'beside.bin', offset: '0', length: '60' }
      const model = encodeWith(small, ({ name }) => (name === 'fc.w' ? external(where) : encodings.raw))
      const changed = written('beside.bin', weightBytes)
      return [written('beside.onnx', model), changed]
    },
  }

  it.each(Object.keys(files))('is refused: %s', async kind => {
    const [path, changing] = await files[kind]!()
    await using file = await openCheckpoint(path)
    const source = {
      description: path,
      names: () => file.tensors.keys(),
      shape: (name: string) => file.tensors.get(name)?.shape,
      read: file.read.bind(file),
    }
    keepStored(source, { file, locate: name => ({ name, layout: 'KCRS' }) })
    const loadWith = (load: () => void) => {
      const native = { loadWeights: async () => load() } as unknown as NativeSession
      return loadWeights(linearPlan, source, native, 1)
    }
    await loadWith(() => {})
    await expect(loadWith(() => utimesSync(changing, new Date(0), new Date(0)))).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('it has changed since it was opened'),
    })
  })
})
