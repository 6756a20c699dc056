import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../../lib/index.ts'
import { looksLikePaddle, openPaddle, readPaddle } from '../../../lib/weights/formats/paddle/open-paddle.ts'
import { temporaryFolder } from '../../support/files.ts'
import { memorySource } from '../../support/memory-source.ts'
import * as p from '../../support/pickle.ts'

const open = (bytes: Uint8Array) => readPaddle(memorySource(bytes, 'Paddle'))
const f4 = p.numpyType('f4')

async function readOne(array: Uint8Array): Promise<number[]> {
  await using file = await open(p.pickle(p.dict({ w: array })))
  return [...(await file.read('w'))]
}

describe('An array is read', () => {
  it.each<[title: string, array: Uint8Array, expected: number[]]>([
    ['as bytes', p.numpyArray([2], f4, p.bin(p.float32(1, -2))), [1, -2]],
    ['as encoded text', p.numpyArray([2], f4, p.encoded(p.float32(1, -2))), [1, -2]],
    ['as a string of Python 2', p.numpyArray([2], f4, p.ops('U\x08', p.float32(1, -2))), [1, -2]],
    ['in columns', p.numpyArray([2, 3], f4, p.bin(p.float32(1, 4, 2, 5, 3, 6)), true), [1, 2, 3, 4, 5, 6]],
    [
      'in the other byte order',
      p.numpyArray([1], p.numpyType('f8', '>'), p.bin(Buffer.from('3ff8000000000000', 'hex'))),
      [1.5],
    ],
    ['of halves', p.numpyArray([1], p.numpyType('f2'), p.bin(Buffer.of(0, 0x3c))), [1]],
    ['of the bits of bfloat16', p.numpyArray([1], p.numpyType('u2'), p.bin(Buffer.of(0x80, 0x3f))), [1]],
    ['with its name', p.tuple(p.str('linear_0.w_0'), p.numpyArray([1], f4, p.bin(p.float32(3)))), [3]],
    [
      'of a dense tensor',
      p.call(
        p.global('paddle.framework.io_utils', '_reconstruct_dense_tensor_data'),
        p.numpyArray([1], f4, p.bin(p.float32(3))),
      ),
      [3],
    ],
    [
      'of a static graph',
      p.call(
        p.global('builtins', 'eval'),
        p.str('data'),
        p.dict({ data: p.numpyArray([1], f4, p.bin(p.float32(3))) }),
      ),
      [3],
    ],
    ['without dimensions', p.numpyArray([], f4, p.bin(p.float32(3))), [3]],
  ])('%s', async (_, array, expected) => {
    expect(await readOne(array)).toEqual(expected)
  })

  it.each(['bytes', 'encoded text', 'a string of Python 2'])(
    'of megabytes as %s, in rows and columns',
    async form => {
      const [rows, columns] = [700, 900]
      const values = new Float32Array(rows * columns).map((_, i) => i - 1000)
      const bytes = Buffer.from(values.buffer)
      const forms = {
        bytes: p.bin,
        'encoded text': p.encoded,
        'a string of Python 2': (bytes: Buffer) => p.ops('T', p.uint32(bytes.length), bytes),
      }
      const data = forms[form as keyof typeof forms](bytes)
      expect(await readOne(p.numpyArray([rows, columns], f4, data))).toEqual([...values])
      const byColumns = await readOne(p.numpyArray([rows, columns], f4, data, true))
      expect(
        byColumns.every((value, i) => value === values[(i % columns) * rows + Math.floor(i / columns)]),
      ).toBe(true)
    },
  )

  it('more than once, also at the same time', async () => {
    const array = p.numpyArray([2000], f4, p.encoded(p.float32(...Array(2000).keys())))
    await using file = await open(p.pickle(p.dict({ w: array })))
    const both = await Promise.all([file.read('w'), file.read('w')])
    for (const values of both) expect([...values]).toEqual([...Array(2000).keys()])
  })

  it('in the pieces that large ones are saved in', async () => {
    const pieces = (order: string[]) =>
      p.pickle(
        p.dict({
          'w@@.0': p.numpyArray([2], f4, p.bin(p.float32(1, 2))),
          'w@@.1': p.numpyArray([2], f4, p.encoded(p.float32(3, 4))),
          b: p.numpyArray([1], f4, p.bin(p.float32(9))),
          'UnpackBigParamInfor@@': p.dict({
            w: p.dict({ OriginShape: p.ints([2, 2]), slices: p.list(...order.map(p.str)) }),
          }),
          'StructuredToParameterName@@': p.dict({ w: p.str('conv2d_0.w_0') }),
        }),
      )
    await using file = await open(pieces(['w@@.0', 'w@@.1']))
    expect([...file.tensors.keys()].sort()).toEqual(['b', 'w'])
    expect(file.tensors.get('w')?.shape).toEqual([2, 2])
    expect([...(await file.read('w'))]).toEqual([1, 2, 3, 4])
    for (const [order, message] of [
      [['w@@.0'], "'w' ends at element 4 of a storage of 2"],
      [['w@@.0', 'w@@.0'], "it has no piece 'w@@.0' of 'w'"],
      [['w@@.0', 'w@@.2'], "it has no piece 'w@@.2' of 'w'"],
      [[], "the pieces of 'w' are not flat arrays of one type"],
    ] as const)
      await expect(open(pieces([...order]))).rejects.toThrow(message)
  })
})

describe('An array as text', () => {
  const long = (text: string, numbers: number) =>
    p.numpyArray([numbers], f4, p.call(p.global('_codecs', 'encode'), p.str(text), p.str('latin1')))

  it('of other than single bytes, or of too few, is refused when it is read', async () => {
    await expect(readOne(long('€'.repeat(4000), 2000))).rejects.toThrow('are not latin1 text')
    await expect(readOne(long('\xff'.repeat(4000), 1500))).rejects.toThrow('an array has fewer bytes than')
  })

  it('in another encoding is refused', async () => {
    const data = p.call(p.global('_codecs', 'encode'), p.str('abcd'), p.str('utf-16'))
    await expect(readOne(p.numpyArray([1], f4, data))).rejects.toThrow(
      'bytes in an encoding other than latin1',
    )
  })
})

describe('A Paddle file', () => {
  it('is opened by its path, is told by its beginning and says what it is', async () => {
    const path = join(temporaryFolder(), 'model.pdparams')
    const bytes = p.pickle(p.dict({ w: p.numpyArray([1], f4, p.bin(p.float32(1))) }))
    expect(looksLikePaddle(bytes)).toBe(true)
    expect(looksLikePaddle(Buffer.from('PK\x03\x04'))).toBe(false)
    writeFileSync(path, bytes)
    await using file = await openPaddle(path)
    expect(file.format).toBe('Paddle (pickle)')
    expect([...(await file.read('w'))]).toEqual([1])
  })
})

describe('What Paddle saves and has no weights by their names', () => {
  const folder = temporaryFolder()
  const zeros = (count: number) => Buffer.alloc(count)
  const empty = p.pickle(p.dict({}))
  const described = p.dict({ structured_name: p.str('conv.weight'), stop_gradient: '\x89' })
  it.each<[title: string, file: string, bytes: Uint8Array, what: string, remedy: string]>([
    [
      'a program',
      'model.json',
      Buffer.from('{"base_code":{"magic":"pir","trainable":true,"version":4},"program":{"regions":[]}}'),
      'a PaddlePaddle program',
      "paddle.save(model.state_dict(), 'model.pdparams'), or convert it to ONNX with paddle2onnx.",
    ],
    [
      'a program that is set out for readers',
      'model.json',
      Buffer.from('{\n  "base_code": {\n    "magic": "pir",\n'),
      'a PaddlePaddle program',
      'paddle.save(model.state_dict()',
    ],
    [
      'a program before version 3',
      'model.pdmodel',
      p.ops('\x0a\x8a\x23\x08\x00\x10', Buffer.alloc(9, 0xff), '\x01\x1a\x22\x0a\x12batch_norm2d_1.b_0'),
      'a PaddlePaddle program',
      'paddle2onnx.',
    ],
    [
      'the parameters of a program',
      'model.pdiparams',
      p.ops(zeros(16), p.uint32(4), '\x08\x05\x10\x04', p.float32(1, 2, 3, 4)),
      'it holds unnamed parameters',
      'paddle2onnx.',
    ],
    [
      'the names of those',
      'model.pdiparams.info',
      p.pickle(p.dict({ 'conv2d_0.w_0': described })),
      'the names of the parameters of a PaddlePaddle program',
      "paddle.save(model.state_dict(), 'model.pdparams').",
    ],
    [
      'an optimizer with a schedule alone',
      'model.opt',
      p.pickle(p.dict({ LR_Scheduler: p.dict({ last_epoch: p.int(3) }) })),
      'the state of an optimizer',
      'in the .pdparams file next to it.',
    ],
    ['an optimizer with nothing', 'model.pdopt', empty, 'the state of an optimizer', 'in the .pdparams file'],
  ])('is refused by name, with what to do: %s', async (_, file, bytes, what, remedy) => {
    const path = join(folder, file)
    writeFileSync(path, bytes)
    for (const opening of [openCheckpoint, openPaddle]) {
      const error = await opening(path).catch((error: unknown) => error as Error)
      expect(error).toMatchObject({ name: 'ResidualError', code: 'CHECKPOINT_INVALID' })
      expect(error).toMatchObject({ message: expect.stringContaining(`${path} is not supported: it `) })
      expect(error).toMatchObject({ message: expect.stringContaining(what) })
      expect(error).toMatchObject({ message: expect.stringContaining(remedy) })
    }
  })

  it('is not seen in what begins otherwise', () => {
    for (const bytes of [
      Buffer.from('{"metadata": {"total_size": 1}, "weight_map": {}}'),
      zeros(64),
      p.ops(zeros(16), p.uint32(400), '\x08\x05'),
      p.ops(zeros(16), p.uint32(4), '\x09\x05'),
      p.ops(zeros(16), p.uint32(4)),
      p.ops('\x0a\xff\xff\xff\xff\xff\xff\xff'),
      p.ops('\x0a\x10\x08\x01\x10', Buffer.alloc(9, 0xff), '\x01'),
      Buffer.of(0x0a),
      Buffer.alloc(0),
    ])
      expect(looksLikePaddle(bytes)).toBe(false)
  })

  it('is a whole model, and refused with the call that saves its weights', async () => {
    await expect(open(p.pickle(p.global('__main__', 'ResNet'), ')\x81'))).rejects.toThrow(
      'it contains no tensors, and the functions it names are not called: __main__.ResNet. ' +
        "If it holds a whole model, save its state_dict() instead: paddle.save(model.state_dict(), 'model.pdparams').",
    )
  })
})
