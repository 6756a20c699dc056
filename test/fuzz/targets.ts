// The readers to fuzz and the files to start from: one entry each. Further formats add theirs.
import { expect } from 'vitest'
import type { Checkpoint } from '../../lib/weights/checkpoint/checkpoint.ts'
import type { ByteSource } from '../../lib/weights/checkpoint/checkpoint-file.ts'
import { readPaddle } from '../../lib/weights/formats/paddle/open-paddle.ts'
import { readPyTorch } from '../../lib/weights/formats/pytorch/open-pytorch.ts'
import { readSafetensors } from '../../lib/weights/formats/safetensors/open-safetensors.ts'
import { readZip } from '../../lib/weights/formats/zip.ts'
import { safetensors } from '../support/files.ts'
import { memorySource } from '../support/memory-source.ts'
import * as p from '../support/pickle.ts'
import { plainTorch, torchZip, withoutChecksums, zip } from '../support/zip.ts'
import type { FuzzTarget } from './harness.ts'
import { onnxTarget } from './onnx-target.ts'
import { readAll } from './read-all.ts'
import { shardedTarget } from './sharded-target.ts'

/** A target of a reader that takes bytes by position. */
function reading(
  name: string,
  format: string,
  read: (source: ByteSource) => Promise<Checkpoint>,
  seeds: FuzzTarget['seeds'],
): FuzzTarget {
  const open = async (bytes: Buffer) => {
    await using file = await read(memorySource(bytes, format, /*descriptor=*/ 0))
    await readAll(file, bytes)
  }
  return { name, seeds, open }
}

const vector = (numbers: number, key = '0') => ({ key, numbers, shape: [numbers], strides: [1] })

const saved = (plain: boolean) =>
  p.pickle(
    p.dict({
      epoch: 'K\x03',
      state_dict: p.dict({
        'conv1.weight': p.torchTensor({ key: '0', numbers: 12, shape: [2, 3, 2], strides: [6, 1, 3] }, plain),
        'bn1.weight': p.torchTensor({ ...vector(4, '0'), numbers: 12, offset: 3 }, plain),
        'fc.bias': p.call(
          p.global('torch._utils', '_rebuild_parameter'),
          p.torchTensor({ ...vector(2, '1'), type: 'HalfStorage' }, plain),
          '\x88',
          'N',
        ),
      }),
    }),
  )
const storages = { 0: p.float32(...Array(12).keys()), 1: Buffer.of(0, 0x3c, 0, 0x40) }

async function torchZips(): Promise<Buffer[]> {
  const order = { 'model/byteorder': Buffer.from('little'), 'model/version': Buffer.from('3\n') }
  return [
    await torchZip(saved(false), storages, order),
    withoutChecksums(await torchZip(saved(false), storages, order)),
    await torchZip(saved(false), storages, {}, { zip64: true }),
    await torchZip(saved(false), storages, { 'model/byteorder': Buffer.from('big') }),
  ]
}

async function plainFiles(): Promise<Buffer[]> {
  return [
    plainTorch(
      saved(true),
      p.pickle(p.list(p.str('0'), p.str('1'))),
      p.uint64(12),
      storages[0],
      p.uint64(2),
      storages[1],
    ),
  ]
}

async function paddleFiles(): Promise<Buffer[]> {
  const data = p.float32(1, 2, 3, 4, 5, 6)
  const f4 = p.numpyType('f4')
  const all = {
    a: p.numpyArray([2, 3], f4, p.bin(data)),
    b: p.numpyArray([2, 3], f4, p.encoded(data), true),
    c: p.tuple(p.str('c_0'), p.numpyArray([3], p.numpyType('f8', '>'), p.bin(Buffer.alloc(24)))),
    'StructuredToParameterName@@': p.dict({ a: p.str('linear_0.w_0') }),
  }
  const pieces = {
    'd@@.0': p.numpyArray([2], f4, p.bin(p.float32(1, 2))),
    'd@@.1': p.numpyArray([1], f4, p.bin(p.float32(3))),
    'UnpackBigParamInfor@@': p.dict({
      d: p.dict({ OriginShape: p.ints([3, 1]), slices: p.list(p.str('d@@.0'), p.str('d@@.1')) }),
    }),
  }
  const long = { e: p.numpyArray([1100], p.numpyType('f4'), p.encoded(Buffer.alloc(4400, 0x3f))) }
  const newer = p.ops(
    '\x80\x04\x95',
    p.uint64(100),
    '}\x94(\x8c\x01a\x94\x8c\x16numpy._core.multiarray\x94\x8c\x0c_reconstruct\x94\x93\x94',
    '\x8c\x05numpy\x94\x8c\x07ndarray\x94\x93\x94K\x00\x85\x94C\x01b\x94\x87\x94R\x94(K\x01K\x01\x85\x94h\x05\x8c\x05dtype\x94\x93\x94',
    '\x8c\x02f4\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\x89C\x04',
    p.float32(1),
    '\x94t\x94bu.',
  )
  return [p.pickle(p.dict(all)), p.pickle(p.dict(pieces)), p.pickle(p.dict(long)), newer]
}

async function safetensorsFiles(): Promise<Buffer[]> {
  const header = {
    __metadata__: { format: 'pt' },
    a: { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] },
    b: { dtype: 'F16', shape: [3], data_offsets: [16, 22] },
    c: { dtype: 'BF16', shape: [1, 1], data_offsets: [22, 24] },
  }
  const quantized = {
    q: { dtype: 'I8', shape: [2, 2], data_offsets: [0, 4] },
    q_scale: { dtype: 'F32', shape: [2], data_offsets: [4, 12] },
  }
  return [
    safetensors(header, Array(24).fill(0x3c)),
    safetensors({ a: header.a }, Array(16).fill(1)),
    safetensors(quantized, [1, 0x81, 0x7f, 0, ...Array(8).fill(0x3c)]),
  ]
}

/** Of zips of anything: entries that are stored and compressed, and the directory in both its forms. */
const zipTarget: FuzzTarget = {
  name: 'zip',
  seeds: async () => {
    const files = { 'a/b': Buffer.alloc(200, 'ab'), c: Buffer.from('d') }
    return await Promise.all([
      zip(files),
      zip(files, { compress: true }),
      zip(files, { zip64: true }),
      zip(files, { compress: true, zip64: true }).then(withoutChecksums),
    ])
  },
  open: async bytes => {
    const source = memorySource(bytes, 'zip')
    const read = await readZip(source)
    for (const [name, entry] of read.entries) {
      if (entry.compressionMethod === 0) await (await read.locate(entry, name)).check(source)
      let length = 0
      for await (const piece of read.unpack(entry, name)) length += piece.length
      expect(length).toBe(entry.uncompressedSize)
    }
  },
}

export const targets: readonly FuzzTarget[] = [
  zipTarget,
  reading('PyTorch zip', 'PyTorch', readPyTorch, torchZips),
  reading('PyTorch plain pickle', 'PyTorch', readPyTorch, plainFiles),
  reading('Paddle pickle', 'Paddle', readPaddle, paddleFiles),
  reading('safetensors', 'safetensors', readSafetensors, safetensorsFiles),
  shardedTarget,
  onnxTarget,
]
