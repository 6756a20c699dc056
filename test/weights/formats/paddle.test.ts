import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { looksLikePaddle, openPaddle, readPaddle } from '../../../lib/weights/formats/paddle.ts'
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
      [[], "the pieces of 'w' are not of one type"],
    ] as const)
      await expect(open(pieces([...order]))).rejects.toThrow(message)
  })
})

describe('An array as text', () => {
  const long = (text: string, numbers: number) =>
    p.numpyArray([numbers], f4, p.call(p.global('_codecs', 'encode'), p.str(text), p.str('latin1')))

  it('of other than single bytes, or of too few, is refused when it is read', async () => {
    await expect(readOne(long('€'.repeat(4000), 2000))).rejects.toThrow('are not text of single bytes')
    await expect(readOne(long('\xff'.repeat(4000), 1500))).rejects.toThrow('an array has less bytes than')
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
