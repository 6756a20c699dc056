import { describe, expect, it } from 'vitest'
import { ResidualError } from '../../../lib/index.ts'
import { readPaddle } from '../../../lib/weights/formats/paddle/open-paddle.ts'
import { memorySource } from '../../support/memory-source.ts'
import * as p from '../../support/pickle.ts'

const open = (bytes: Uint8Array) => readPaddle(memorySource(bytes, 'Paddle'))
const one = p.numpyArray([1], p.numpyType('f4'), p.bin(p.float32(1)))
/** A pickle that ends with a good dictionary, after what is in question. */
const before = (...parts: readonly p.Part[]) => p.pickle(...parts, '0', p.dict({ a: one }))

const refused: [title: string, bytes: Uint8Array, message: string][] = [
  ['nothing', Buffer.alloc(0), 'its pickle is truncated at byte 0 of 0'],
  ['no end', p.pickle(p.dict({ a: one })).subarray(0, -1), 'its pickle is truncated'],
  ['bytes behind its end', p.ops(p.pickle(p.dict({ a: one })), 'x'), '1 bytes follow its pickle'],
  ['no tensors', p.pickle(p.dict({ epoch: 'K\x01' })), 'it contains no tensors'],
  [
    'the state of an optimizer without tensors',
    p.pickle(p.dict({ state: p.dict({}), param_groups: p.list(p.dict({ lr: 'K\x01' })) })),
    'it is the state of an optimizer; the weights are in another file',
  ],
  ['an unknown opcode', before('\xfe'), 'has the unknown opcode 254'],
  ...(
    [
      ['a number', [p.str('1')]],
      ['an array by another name', [p.str('x'), p.dict({ data: one })]],
      ['more than an array', [p.str('data'), p.dict({ data: one, x: one })]],
      ['an array and more', [p.str('data'), p.dict({ data: one }), p.dict({})]],
      ['something that is no array', [p.str('data'), p.dict({ data: p.str('1') })]],
    ] as const
  ).map(([title, args]): [string, Uint8Array, string] => [
    `a call of eval for ${title}`,
    before(p.call(p.global('builtins', 'eval'), ...args)),
    'calls eval on something other than an array; nothing from a file is executed',
  ]),
  [
    'a global of a number',
    before(p.ops('\x8c\x02osK\x01\x93')),
    'names a global with something other than strings',
  ],
  ['a global without end', p.pickle(`c${'x'.repeat(600)}`), 'a name in its pickle does not end'],
  ['an extension', before('\x82\x01'), 'uses the opcode EXT1,'],
  ['INST', before('(ios\nsystem\n'), 'uses the opcode INST,'],
  ['OBJ', before(p.ops('(', p.global('collections', 'OrderedDict'), 'o')), 'uses the opcode OBJ,'],
  ['a buffer outside the file', before('\x97'), 'uses the opcode NEXT_BUFFER,'],
  ['a call of what is no function', before('K\x01)R'), 'calls something that is not a function'],
  ['a call without arguments', before(p.global('collections', 'OrderedDict'), 'NR'), 'without arguments'],
  ['a call of a type', before(p.call(p.global('numpy', 'ndarray'))), 'calls a type as a function'],
  ['a value that is not there', p.pickle('0'), 'pops a value that is not there'],
  ['values below a mark', p.pickle('N(0'), 'pops a value that is not there'],
  ['a mark that is not there', p.pickle('t'), 'pops a mark that is not there'],
  ['an item that was not stored', p.pickle('h\x07'), 'reads memo 7, which it has not stored'],
  ['a key without a value', p.pickle('}(Nu'), 'sets a key without a value'],
  ['items of a number', p.pickle('K\x01NNs'), 'sets items of something that is not a dictionary'],
  ['something appended to a number', p.pickle('K\x01Na'), 'appends to something that is not a list'],
  ['a state of a number', p.pickle('K\x01Nb'), 'sets the state of something that has none'],
  ['a persistent id', before('NQ'), 'has a persistent id that is not a storage'],
  ['text longer than the file', p.pickle('X', p.uint32(0xffffffff)), 'is truncated at byte'],
  ['bytes longer than anything', p.pickle('\x8e', p.uint64(2n ** 64n - 1n)), 'is truncated at byte'],
  ...(
    [
      ['more bytes', [1], p.bin(p.float32(1, 2)), 'has an array of 4 bytes with 8 bytes of data'],
      ['less bytes', [3], p.bin(p.float32(1, 2)), 'has an array of 12 bytes with 8 bytes of data'],
      ['a negative size', [-1], p.bin(p.float32(1)), 'not a count'],
      ['petabytes', [2 ** 30, 2 ** 30], p.bin(p.float32(1)), 'has too many elements'],
      ['sizes that overflow to 0', [2 ** 30, 2 ** 30, 0], p.bin(Buffer.alloc(0)), 'has too many elements'],
      ['65 dimensions', Array(65).fill(1), p.bin(p.float32(1)), 'has an array without a shape'],
      ['a number for bytes', [1], p.int(4), 'has an array without its bytes'],
    ] as const
  ).map(([title, shape, data, message]): [string, Uint8Array, string] => [
    `an array with ${title}`,
    p.pickle(p.dict({ a: p.numpyArray(shape, p.numpyType('f4'), data) })),
    message,
  ]),
  [
    'an array with long integers for sizes',
    p.pickle(
      p.dict({ a: p.ops(p.call(p.global('numpy.core.multiarray', '_reconstruct')), tupleOfLong(), 'b') }),
    ),
    'has an array without a shape',
  ],
  [
    'two names that come out the same',
    p.pickle(p.dict({ a: p.dict({ b: one }), 'a.b': one })),
    "two tensors named 'a.b'",
  ],
]

function tupleOfLong(): Buffer {
  const big = p.ops('\x8a\x09', Buffer.alloc(9, 1))
  return p.tuple(p.int(1), p.tuple(big), p.numpyType('f4'), '\x89', p.bin(p.float32(1)))
}

describe('A pickle with', () => {
  it.each(refused)('%s is refused', async (_, bytes, message) => {
    const error = await open(bytes).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(ResidualError)
    expect(error).toMatchObject({ code: 'CHECKPOINT_INVALID' })
    expect((error as Error).message).toContain(message)
  })

  /** Names, what is called with them, and a name that the message has where nothing else is in the file. */
  const unknown: [title: string, bytes: Uint8Array, name: string][] = [
    ['a call into the system', p.call(p.global('posix', 'system'), p.str('touch /tmp/x')), 'posix.system'],
    ['a builtin', p.call(p.global('__builtin__', 'exec'), p.str('1')), '__builtin__.exec'],
    ['a global that is a part of a known one', p.global('numpy', 'core'), 'numpy.core'],
    ["a global of an object's property's name", p.global('__proto__', 'x'), '__proto__.x'],
    ['a global off the stack', p.ops('\x8c\x02os\x8c\x06system\x93'), 'os.system'],
    ['a class', p.ops(p.global('__main__', 'Net'), ')', '\x81', p.dict({}), 'b'), '__main__.Net'],
    ['a class with arguments by name', p.ops(p.global('a', 'B'), ')}', '\x92'), 'a.B'],
    [
      'what an unknown thing gives',
      p.ops(p.call(p.call(p.global('builtins', 'getattr'), 'NN')), 'K\x01b'),
      'builtins.getattr',
    ],
    ['items of an unknown thing', p.ops(p.global('a', 'L'), ')\x81', '(NNe', '(', p.str('k'), 'Nu'), 'a.L'],
    ['a partial function', p.ops(p.call(p.global('functools', 'partial'), 'N'), p.tuple('N', ')', '}', 'N'), 'b'), 'functools.partial'], // biome-ignore format: short
    ['an array of strings', p.ops(p.global('a', 'b'), '0', p.numpyArray([1], p.numpyType('S4'), p.bin(Buffer.alloc(4)))), 'a.b'], // biome-ignore format: short
    ['an array of objects', p.ops(p.global('a', 'b'), '0', p.numpyArray([1], p.numpyType('O8'), p.list('N'))), 'a.b'], // biome-ignore format: short
  ]
  it.each(unknown)(
    '%s calls nothing: it stands for itself, and weights beside it are read',
    async (_, bytes, name) => {
      await using file = await open(p.pickle(p.dict({ other: bytes, w: one })))
      expect([...file.tensors.keys()]).toEqual(['w'])
      const alone = await open(p.pickle(p.dict({ other: bytes }))).catch((error: unknown) => error)
      expect(alone).toMatchObject({
        code: 'CHECKPOINT_INVALID',
        message: expect.stringContaining(
          `contains no tensors, and the functions it names are not called: ${name}`,
        ),
      })
    },
  )

  it('a model without tensors is refused with what to save instead', async () => {
    const model = p.pickle(p.global('torchvision.models.resnet', 'ResNet'), ')\x81')
    await expect(open(model)).rejects.toThrow(
      'it contains no tensors, and the functions it names are not called: torchvision.models.resnet.ResNet. ' +
        "If it holds a whole model, save its state_dict() instead: torch.save(model.state_dict(), 'model.pth').",
    )
  })

  it('a dictionary of an unknown kind is seen through', async () => {
    const kind = p.ops(p.global('mmcv', 'ConfigDict'), ')\x81', '(', p.str('w'), one, 'u')
    await using file = await open(p.pickle(p.dict({ model: kind })))
    expect([...file.tensors.keys()]).toEqual(['model.w'])
  })

  it("what training leaves beside the weights is taken for the weights' sake", async () => {
    const bytes = p.pickle(
      p.dict({
        args: p.ops(p.global('argparse', 'Namespace'), ')\x81', p.dict({ lr: 'K\x01' }), 'b'),
        best: p.call(
          p.global('numpy.core.multiarray', 'scalar'),
          p.numpyType('f8'),
          p.encoded(Buffer.alloc(8)),
        ),
        seen: p.call(p.global('__builtin__', 'set'), p.list('K\x01')),
        none: 'N',
        loss: p.ops('G', Buffer.from('3fe0000000000000', 'hex')),
        arch: p.str('resnet50'),
        epoch: 'K\x07',
        ema: '\x88',
        big: p.ops('\x8a\x09', Buffer.alloc(9, 1)),
        few: p.tuple('K\x01'),
        set: '\x8f(K\x01\x90',
        frozen: '(K\x01\x91',
        model: p.dict({ w: one }),
      }),
    )
    await using file = await open(bytes)
    expect([...file.tensors]).toEqual([['model.w', { shape: [1], dtype: 'F32', length: 1 }]])
    expect(Object.fromEntries(file.metadata)).toEqual({
      loss: '0.5',
      arch: 'resnet50',
      epoch: '7',
      ema: 'true',
    })
  })

  it('dictionaries made of pairs, as Python 2 saved them, is taken', async () => {
    const pairs = p.list(p.list(p.str('w'), one))
    await using file = await open(p.pickle(p.call(p.global('collections', 'OrderedDict'), pairs)))
    expect(await file.read('w')).toEqual(Float32Array.of(1))
  })

  it('a string of 100 MB neither in memory nor decoded is passed over', async () => {
    const bytes = p.pickle(
      p.dict({ notes: p.ops('X', p.uint32(100 << 20), Buffer.alloc(100 << 20, 0x61)), w: one }),
    )
    const heldBytes = () => process.memoryUsage().heapUsed + process.memoryUsage().external
    const before = heldBytes()
    await using file = await open(bytes)
    expect(heldBytes() - before).toBeLessThan(30 << 20)
    expect([...file.tensors.keys()]).toEqual(['w'])
  })
})

/** Files of a few kilobytes, or a megabyte, that mean more than memory or a minute hold. */
const bombs: [title: string, bytes: () => Uint8Array, message: string][] = [
  [
    'dictionaries that hold one another twice, thirty deep',
    () =>
      p.pickle(
        one,
        'q\x00',
        ...Array.from({ length: 30 }, (_, i) =>
          p.ops(p.dict({ a: p.ops('h', i), b: p.ops('h', i) }), 'q', i + 1),
        ),
      ),
    'it has more tensors than any checkpoint',
  ],
  [
    'a dictionary that holds itself',
    () => p.pickle('}q\x00', p.str('a'), 'h\x00s'),
    'more entries than a file can hold',
  ],
  [
    'a list that holds itself a thousand times',
    () => p.pickle(']q\x00(', 'h\x00'.repeat(1000), 'e'),
    'nested more than 32 levels deep',
  ],
  [
    '200,000 nested lists',
    () => p.pickle(']'.repeat(200_000), 'a'.repeat(199_999)),
    'nested more than 32 levels deep',
  ],
  ['200,000 nested tuples', () => p.pickle('N', '\x85'.repeat(200_000)), 'nested more than 32 levels deep'],
  [
    'dictionaries made of one long list again and again',
    () =>
      p.pickle(
        p.global('collections', 'OrderedDict'),
        'q\x00',
        p.list(...Array<Buffer>(10_000).fill(p.tuple('K\x01K\x02'))),
        '\x85q\x01',
        p.ops('h\x00h\x01R0').toString('latin1').repeat(10_000),
      ),
    'takes more steps than any checkpoint needs',
  ],
  [
    'a long key under which there are many tensors',
    () => {
      const members = Array.from({ length: 5000 }, (_, i) => p.ops('M', i & 255, i >> 8, 'h\x00'))
      const inner = p.ops('}(', ...members, 'u')
      const nested = Array.from({ length: 20 }).reduce<Buffer>(
        inner => p.ops('}', p.str('x'.repeat(4000)), inner, 's'),
        inner,
      )
      return p.pickle(one, 'q\x00', nested)
    },
    'it has more tensors than any checkpoint',
  ],
  [
    'a million memo entries',
    () => p.pickle('N', '\x94'.repeat(1_000_000)),
    'memoizes more values than any checkpoint needs',
  ],
  [
    'four million empty dictionaries',
    () => p.pickle('}'.repeat(4_000_000)),
    'takes more steps than any checkpoint needs',
  ],
  ['four million marks', () => p.pickle('('.repeat(4_000_000)), 'takes more steps than any checkpoint needs'],
  [
    'long integers without end',
    () => p.pickle(p.ops('\x8a\xff', Buffer.alloc(255, 0x7f)).toString('latin1').repeat(10_000)),
    'it contains no tensors',
  ],
]

describe('A pickle that means more than it has, with', () => {
  it.each(bombs)('%s, is refused by the steps it takes', async (_, bytes, message) => {
    const file = bytes()
    await expect(open(file)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(message),
    })
  })
})
