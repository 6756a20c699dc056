import { mkdirSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  looksLikePyTorch,
  openPyTorch,
  readPyTorch,
} from '../../../lib/weights/formats/pytorch/open-pytorch.ts'
import { temporaryFolder } from '../../support/files.ts'
import { memorySource } from '../../support/memory-source.ts'
import * as p from '../../support/pickle.ts'
import { oneTensor, plainTorch, torchZip, withoutChecksums, zip } from '../../support/zip.ts'

const folder = temporaryFolder()
const path = join(folder, 'model.pth')
const open = (bytes: Uint8Array) => readPyTorch(memorySource(bytes, 'PyTorch'))
const range = (n: number) => Array.from({ length: n }, (_, i) => i)

async function readOne(tensor: Omit<p.TorchTensor, 'key'>, storage: Uint8Array): Promise<number[]> {
  await using file = await open(await oneTensor(tensor, storage))
  return [...(await file.read('w'))]
}

describe('A view of a storage is read', () => {
  const storage = p.float32(...range(24))
  const numbers = 24
  it.each<[title: string, shape: number[], strides: number[], offset: number, expected: number[]]>([
    ['as it is', [2, 3, 4], [12, 4, 1], 0, range(24)],
    ['from an offset', [3, 2], [2, 1], 5, [5, 6, 7, 8, 9, 10]],
    ['transposed', [4, 6], [1, 4], 0, range(24).map(i => (i % 6) * 4 + Math.floor(i / 6))],
    // [N,C,H,W] = [1,2,3,4] stored as N,H,W,C
    [
      'with channels last',
      [1, 2, 3, 4],
      [24, 1, 8, 2],
      0,
      range(24).map(i => (i % 12) * 2 + Math.floor(i / 12)),
    ],
    ['expanded', [3, 2], [0, 1], 4, [4, 5, 4, 5, 4, 5]],
    ['expanded within', [2, 3], [1, 0], 4, [4, 4, 4, 5, 5, 5]],
    ['every fifth', [5], [5], 2, [2, 7, 12, 17, 22]],
    ['overlapping itself', [3, 3], [1, 1], 2, [2, 3, 4, 3, 4, 5, 4, 5, 6]],
    ['of one element', [], [], 23, [23]],
    ['of one element in dimensions whatever their strides', [1, 1], [999, 7], 23, [23]],
    ['of none', [0, 3], [3, 1], 24, []],
  ])('%s', async (_, shape, strides, offset, expected) => {
    expect(await readOne({ numbers, shape, strides, offset }, storage)).toEqual(expected)
  })

  it('longer than what is in memory at once, in any order', async () => {
    const n = 1500
    const big = new Float32Array(n * n).map((_, i) => i)
    const bytes = await oneTensor(
      { numbers: n * n, shape: [n, n], strides: [1, n] },
      new Uint8Array(big.buffer),
    )
    await using file = await open(bytes)
    const transposed = await file.read('w')
    expect(transposed.every((value, i) => value === (i % n) * n + Math.floor(i / n))).toBe(true)
  })

  it('of halves, bfloat16 and doubles', async () => {
    const view = { numbers: 2, shape: [2], strides: [1] }
    expect(await readOne({ ...view, type: 'HalfStorage' }, Buffer.from('003c00c0', 'hex'))).toEqual([1, -2])
    expect(await readOne({ ...view, type: 'BFloat16Storage' }, Buffer.from('803f00c0', 'hex'))).toEqual([
      1, -2,
    ])
    expect(
      await readOne({ ...view, type: 'DoubleStorage' }, Buffer.from(Float64Array.of(0.1, -2).buffer)),
    ).toEqual([Math.fround(0.1), -2])
  })

  it('of a machine with the other byte order', async () => {
    const tensor = { key: '0', numbers: 3, shape: [3], strides: [1] }
    const swapped = p.float32(1, 2, 3).swap32()
    const bytes = await torchZip(
      p.pickle(p.dict({ w: p.torchTensor(tensor) })),
      { 0: swapped },
      { 'model/byteorder': Buffer.from('big') },
    )
    await using file = await open(bytes)
    expect([...(await file.read('w'))]).toEqual([1, 2, 3])
  })
})

describe('A view of a storage is refused', () => {
  it.each<[title: string, tensor: Partial<p.TorchTensor>, message: string]>([
    ['beyond its end', { offset: 1 }, 'ends at element 7 of a storage of 6'],
    ['by a stride', { strides: [4, 1] }, 'ends at element 7 of a storage of 6'],
    ['by a size', { shape: [2, 4] }, 'ends at element 7 of a storage of 6'],
    ['with more strides than sizes', { strides: [3, 1, 1] }, 'has 2 sizes and 3 strides'],
    ['with a negative stride', { strides: [-3, 1] }, 'not a count'],
    ['with a negative offset', { offset: -1 }, 'not a count'],
    [
      'with more numbers than the file has',
      { numbers: 1000, shape: [1000], strides: [1] },
      "'w' ends at element 1000 of a storage of 6",
    ],
    ['repeated into gigabytes', { shape: [2 ** 30], strides: [0] }, 'repeats the 6 elements of its storage'],
    [
      'with sizes that overflow',
      { shape: [2 ** 30, 2 ** 30, 0], strides: [0, 0, 0] },
      'has too many elements',
    ],
  ])('%s', async (_, changes, message) => {
    const bytes = await oneTensor(
      { numbers: 6, shape: [2, 3], strides: [3, 1], ...changes },
      p.float32(...range(6)),
    )
    await expect(open(bytes)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(message),
    })
  })
})

const data = p.pickle(p.dict({ w: p.torchTensor({ key: '0', numbers: 1, shape: [1], strides: [1] }) }))
const storages = { 0: p.float32(5) }

describe('A zip', () => {
  it('in its 64-bit form is read', async () => {
    await using file = await open(await torchZip(data, storages, {}, { zip64: true }))
    expect(file.format).toBe('PyTorch (zip)')
    expect([...(await file.read('w'))]).toEqual([5])
  })

  it.each<[title: string, bytes: () => Promise<Buffer>, message: string]>([
    [
      'that is compressed',
      () => torchZip(data, storages, {}, { compress: true }),
      'is compressed or encrypted',
    ],
    [
      'of TorchScript',
      () => torchZip(data, storages, { 'model/constants.pkl': p.pickle(')') }),
      'it is a TorchScript archive',
    ],
    [
      'of something else',
      () => zip({ 'config.json': Buffer.from('{}') }),
      'it is a zip with 0 entries */data.pkl',
    ],
    [
      'of two models',
      () => torchZip(data, storages, { 'other/data.pkl': data }),
      'it is a zip with 2 entries */data.pkl',
    ],
    ['without a storage', () => torchZip(data, {}), "it has no 'model/data/0',"],
    [
      'of a strange byte order',
      () => torchZip(data, storages, { 'model/byteorder': Buffer.from('middle') }),
      "the unknown byte order 'middle'",
    ],
    [
      'that is cut',
      async () => (await torchZip(data, storages)).subarray(0, -30),
      'its zip directory cannot be read',
    ],
    [
      'with bytes behind it',
      async () => Buffer.concat([await torchZip(data, storages), Buffer.alloc(9)]),
      'its zip directory cannot be read',
    ],
    [
      'with nothing but its end',
      async () => Buffer.from('PK\x05\x06'.padEnd(22, '\0'), 'latin1'),
      '0 entries */data.pkl',
    ],
    ['with too many entries', manyEntries, 'it has 4294967296 entries, more than 200000'],
  ])('%s is refused', async (_, bytes, message) => {
    await expect(bytes().then(open)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(message),
    })
  })

  it('without checksums is read: torch.serialization.set_crc32_options(False) writes such', async () => {
    await using file = await open(withoutChecksums(await torchZip(data, storages)))
    expect([...(await file.read('w'))]).toEqual([5])
  })

  it('whose storage is damaged is refused when a tensor of it is read, in whatever part', async () => {
    const numbers = 3000
    const storage = p.float32(...range(numbers))
    const tensor = (changes: Partial<p.TorchTensor>) =>
      p.torchTensor({ key: '0', numbers, shape: [10], strides: [1], ...changes })
    const pickled = p.pickle(
      p.dict({
        whole: tensor({ shape: [numbers] }),
        part: tensor({ offset: 7 }),
        transposed: tensor({ shape: [50, 60], strides: [1, 50] }),
      }),
    )
    const good = await torchZip(pickled, { 0: storage })
    const bad = Buffer.from(good)
    bad[bad.indexOf(storage) + 4 * 2000]! ^= 1
    await using whole = await open(good)
    await using damaged = await open(bad)
    for (const name of ['part', 'transposed', 'whole', 'part']) {
      expect((await whole.read(name))[1]).toBe({ whole: 1, part: 8, transposed: 50 }[name])
      await expect(damaged.read(name)).rejects.toMatchObject({
        code: 'CHECKPOINT_INVALID',
        message: expect.stringMatching(
          /its 'model\/data\/0' is damaged: the checksum is [0-9a-f]{8} instead of/,
        ),
      })
    }
  })

  it('whose pickle is damaged is refused', async () => {
    const bytes = await torchZip(data, storages)
    bytes[bytes.indexOf(data) + 2]! ^= 1
    await expect(open(bytes)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining("its 'data.pkl' is damaged"),
    })
  })

  it('whose entries share their data is refused', async () => {
    const bytes = await torchZip(data, { 0: Buffer.alloc(600), 1: Buffer.alloc(4) })
    const second = bytes.lastIndexOf('PK\x01\x02', undefined, 'latin1')
    const first = bytes.lastIndexOf('PK\x01\x02', second - 1, 'latin1')
    for (const [at, length] of [
      [16, 12],
      [42, 4],
    ] as const)
      bytes.copy(bytes, second + at, first + at, first + at + length) // checksum and sizes, place
    await expect(open(bytes)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('bytes together'),
    })
  })
})

async function manyEntries(): Promise<Buffer> {
  const bytes = await torchZip(data, storages, {}, { zip64: true })
  bytes.writeUInt32LE(1, bytes.lastIndexOf('PK\x06\x06', undefined, 'latin1') + 36) // the upper half of the number
  bytes.writeUInt32LE(0, bytes.lastIndexOf('PK\x06\x06', undefined, 'latin1') + 32)
  return bytes
}

interface Module {
  readonly kind: readonly [module: string, name: string]
  readonly parameters?: Readonly<Record<string, p.Part>>
  readonly modules?: Readonly<Record<string, p.Part>>
  readonly more?: Readonly<Record<string, p.Part>>
}

/** As a module of PyTorch is saved: a class, and the dictionary of its attributes. */
function whole({ kind, parameters = {}, modules = {}, more = {} }: Module, plain = false): Buffer {
  const type = p.global(...kind)
  const found = plain ? p.ops(p.tuple(p.str('module'), type, p.str('net.py'), p.str('class Net')), 'Q') : type
  const members = { _parameters: p.dict(parameters), _buffers: p.dict({}), _modules: p.dict(modules) }
  return p.ops(found, ')\x81', p.dict({ training: '\x89', ...members, ...more }), 'b')
}

describe('A whole module', () => {
  const weight = (plain = false) => p.torchTensor({ key: 'k', numbers: 2, shape: [2], strides: [1] }, plain)
  const conv = (more: Module['more'] = {}, plain = false): Buffer =>
    whole(
      { kind: ['torch.nn.modules.conv', 'Conv2d'], parameters: { weight: weight(plain), bias: 'N' }, more },
      plain,
    )
  const numbers = p.float32(1, 2)
  const inZip = (module: p.Part) => torchZip(p.pickle(module), { k: numbers })
  const nn = (name: string, more: Module['more'] = {}) =>
    whole({
      kind: [`torch.nn.modules.${name}`.replace(/\.\w+$/, ''), name.slice(name.lastIndexOf('.') + 1)],
      more,
    })

  it.each([
    ['a zip', async () => inZip(whole({ kind: ['__main__', 'Net'], modules: { stem: conv() } }))],
    [
      'the older form, which has the source of its classes',
      async () => {
        const net = whole({ kind: ['__main__', 'Net'], modules: { stem: conv({}, true) } }, true)
        return plainTorch(p.pickle(net), p.pickle(p.list(p.str('k'))), p.uint64(2), numbers)
      },
    ],
  ])('has the tensors that its state_dict() lists: %s', async (_, write) => {
    await using file = await open(await write())
    expect([...file.tensors.keys()]).toEqual(['stem.weight'])
    expect([...(await file.read('stem.weight'))]).toEqual([1, 2])
  })

  it('says what its tensors do not: where a bottleneck has its stride, the epsilon, the activation', async () => {
    const step = (size: number) => ({ stride: p.ints([size, size]) })
    const block = (first: number, second: number) =>
      whole({
        kind: ['torchvision.models.resnet', 'Bottleneck'],
        modules: { conv1: conv(step(first)), conv2: conv(step(second)), conv3: conv(step(1)) },
      })
    const bn = nn('batchnorm.BatchNorm2d', { eps: p.ops('G', Buffer.from('3f50624dd2f1a9fc', 'hex')) })
    for (const [[first, second], stride] of [
      [[2, 1], 'v1'],
      [[1, 2], 'v1.5'],
    ] as const) {
      const layer2 = whole({ kind: ['torch.nn', 'Sequential'], modules: { 0: block(first, second) } })
      const modules = { layer2, bn1: bn, relu: nn('activation.ReLU'), last: nn('activation.Sigmoid') }
      await using file = await open(await inZip(whole({ kind: ['__main__', 'Net'], modules })))
      expect(JSON.parse(file.metadata.get('residual.architecture')!)).toEqual({ stride, epsilon: 0.001 })
      expect(file.metadata.get('residual.activation')).toBe('sigmoid')
    }
  })

  it.each([
    ['another activation', { act: nn('activation.GELU') }, "'act' is a torch.nn.modules.activation.GELU"],
    ['a dilation', { conv: conv({ dilation: p.ints([2, 2]) }) }, "the convolution 'conv' is dilated by 2x2"],
  ] as const)('is refused where it computes something else: %s', async (_, modules, message) => {
    const bytes = await inZip(whole({ kind: ['__main__', 'Net'], modules: { stem: conv(), ...modules } }))
    await expect(open(bytes)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(message),
    })
  })

  it("is refused where something unknown makes its weights, unless it is the optimizer's", async () => {
    const made = p.call(
      p.global('somewhere', 'rebuild'),
      p.torchStorage({ key: 'k', numbers: 2, shape: [2], strides: [1] }),
    )
    await expect(open(await inZip(p.dict({ w: made })))).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining("its 'w' is made by somewhere.rebuild"),
    })
    await using file = await open(await inZip(p.dict({ optimizer: p.dict({ m: made }), w: weight() })))
    expect([...file.tensors.keys()]).toEqual(['w'])
  })
})

describe('A file of the older form', () => {
  const saved = p.pickle(
    p.dict({ w: p.torchTensor({ key: 'k', numbers: 2, shape: [2], strides: [1] }, true) }),
  )
  const keys = p.pickle(p.list(p.str('k')))

  it('is read', async () => {
    await using file = await open(plainTorch(saved, keys, p.uint64(2), p.float32(1, 2)))
    expect(file.format).toBe('PyTorch (plain pickle)')
    expect([...(await file.read('w'))]).toEqual([1, 2])
  })

  it.each<[title: string, bytes: Uint8Array, message: string]>([
    [
      'cut in its numbers',
      plainTorch(saved, keys, p.uint64(2), p.float32(1)),
      'ends in the middle of a storage',
    ],
    ['cut before its numbers', plainTorch(saved, keys), 'ends in the middle of a storage'],
    ['of petabytes', plainTorch(saved, keys, p.uint64(2n ** 62n)), 'ends in the middle of a storage'],
    [
      'of a negative number',
      plainTorch(saved, keys, p.uint64(2n ** 64n - 1n)),
      'ends in the middle of a storage',
    ],
    [
      'with too few numbers',
      plainTorch(saved, keys, p.uint64(1), p.float32(1)),
      "'w' ends at element 2 of a storage of 1",
    ],
    ['without its storage', plainTorch(saved, p.pickle(']')), "it has no storage 'k',"],
    [
      'with a storage of nobody',
      plainTorch(saved, p.pickle(p.list(p.str('x')))),
      'it has a storage that belongs to no tensor',
    ],
    [
      'of a whole model without weights',
      plainTorch(p.pickle(p.tuple(p.str('module'), p.global('__main__', 'Net'), 'NN'), 'Q'), p.pickle(']')),
      'contains no tensors, and the functions it names are not called: __main__.Net',
    ],
    [
      'of another version',
      p.ops(plainTorch(saved, keys).subarray(0, 15), p.pickle('K\x01')),
      'its version is not 1001',
    ],
  ])('%s is refused', async (_, bytes, message) => {
    await expect(open(bytes)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(message),
    })
  })

  it('the oldest, a tar archive, is refused by name', async () => {
    const tar = Buffer.alloc(1024)
    tar.write('ustar', 257)
    expect(looksLikePyTorch(tar)).toBe(true)
    await expect(open(tar)).rejects.toThrow('it is a tar archive')
  })
})

describe('A path', () => {
  it('of nothing, of a folder, and of a text is refused', async () => {
    await expect(openPyTorch(join(folder, 'none.pth'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    mkdirSync(join(folder, 'folder.pth'))
    await expect(openPyTorch(join(folder, 'folder.pth'))).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
    })
    writeFileSync(path, 'text')
    await expect(openPyTorch(path)).rejects.toThrow(`${path} is not a valid PyTorch file: it begins neither`)
  })

  it('whose file changes, or is closed, while it is open gives no numbers', async () => {
    writeFileSync(path, await torchZip(data, storages))
    {
      await using file = await openPyTorch(path)
      utimesSync(path, 1, 1)
      await expect(file.read('w')).rejects.toThrow('it has changed since it was opened')
      truncateSync(path, 10)
      await expect(file.read('w')).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    }
    writeFileSync(path, await torchZip(data, storages))
    const file = await openPyTorch(path)
    await expect(file.read('v')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
    await file.close()
    await expect(file.read('w')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })

  it('with integers or NaN gives none', async () => {
    const long = await oneTensor(
      { numbers: 1, shape: [1], strides: [1], type: 'LongStorage' },
      Buffer.alloc(8),
    )
    await using integers = await open(long)
    expect(integers.tensors.get('w')).toEqual({ shape: [1], dtype: 'I64', length: 1 })
    await expect(integers.read('w')).rejects.toThrow("'w' is I64; weights must be F32, F16, BF16 or F64")
    await using nan = await open(
      await oneTensor({ numbers: 1, shape: [1], strides: [1] }, p.float32(Number.NaN)),
    )
    await expect(nan.read('w')).rejects.toMatchObject({ code: 'NON_FINITE' })
  })
})
