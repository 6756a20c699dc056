import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ResidualError } from '../../../lib/index.ts'
import { openSafetensors } from '../../../lib/weights/formats/safetensors/open-safetensors.ts'
import { safetensors, temporaryFolder } from '../../support/files.ts'

const path = join(temporaryFolder(), 'model.safetensors')

/** A header with one tensor, `t`, of one float32; `changes` overwrite members of its entry. */
const one = (changes: object = {}) => ({ t: { dtype: 'F32', shape: [1], data_offsets: [0, 4], ...changes } })
const entry = JSON.stringify(one().t)
const float = [0, 0, 0x80, 0x3f]

const damages: [title: string, bytes: Uint8Array, message: string][] = [
  ['no bytes at all', Buffer.alloc(0), 'it has only 0 bytes'],
  ['fewer bytes than the length takes', Buffer.alloc(7), 'it has only 7 bytes'],
  ['a header of no bytes', safetensors('', float), 'its header claims 0 bytes, but the file has 12'],
  [
    'a header longer than the file',
    safetensors(one(), float, 999n),
    'its header claims 999 bytes, but the file has 66',
  ],
  [
    'a header over 100 MB',
    safetensors(one(), float, 100_000_001n),
    'its header claims 100000001 bytes, more than 100000000',
  ],
  [
    'the largest length of all',
    safetensors(one(), float, 2n ** 64n - 1n),
    'its header claims 18446744073709552000 bytes, more than 100000000',
  ],
  ['bytes that are not UTF-8', safetensors(Buffer.from('{"\xff":1}', 'latin1')), 'its header is not UTF-8'],
  ['no JSON', safetensors('{"t":'), 'its header is not JSON: '],
  ['a list', safetensors([one()]), "its header does not begin with '{'"],
  ['a byte order mark', safetensors(`\ufeff${JSON.stringify(one())}`, float), "does not begin with '{'"],
  ['a space before the header', safetensors(` ${JSON.stringify(one())}`, float), "does not begin with '{'"],
  ['a tensor twice', safetensors(`{"t":${entry},"t":${entry}}`, [...float, ...float]), "names 't' twice"],
  [
    'a tensor twice, once escaped',
    safetensors(`{"t":${entry},"\\u0074":${entry}}`, float),
    "names 't' twice",
  ],
  [
    'a key of an entry twice',
    safetensors(`{"t":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, float),
    "its header names 'dtype' twice",
  ],
  [
    'a key of the metadata twice',
    safetensors(`{"__metadata__":{"k":"1","l":"2","k":"3"},"t":${entry}}`, float),
    "its header names 'k' twice",
  ],
  [
    'metadata that is no object',
    safetensors({ ...one(), __metadata__: ['pt'] }, float),
    "its '__metadata__'",
  ],
  ['metadata that is null', safetensors({ ...one(), __metadata__: null }, float), "its '__metadata__'"],
  ['metadata of numbers', safetensors({ ...one(), __metadata__: { a: 1 } }, float), "its '__metadata__'"],
  ['an entry that is no object', safetensors({ t: 1 }), "the entry of 't' is not an object"],
  ['an entry that is a list', safetensors({ t: [] }), "the entry of 't' is not an object"],
  ['no dtype', safetensors(one({ dtype: undefined }), float), "'t' has no dtype"],
  ['an unknown dtype', safetensors(one({ dtype: 'F31' }), float), "'t' has the unknown dtype 'F31'"],
  ["a property's name as dtype", safetensors(one({ dtype: 'toString' }), float), "the unknown dtype 'toS"],
  ...[undefined, 1, [-1], [0.5], ['1'], [null], [2 ** 53]].map((shape): [string, Uint8Array, string] => [
    `the shape ${JSON.stringify(shape)}`,
    safetensors(one({ shape }), float),
    "the shape of 't' is not a list of sizes",
  ]),
  [
    'the shape [[1]]',
    safetensors(one({ shape: [[1]] }), float),
    'its header is nested more than 3 levels deep',
  ],
  ['too many elements', safetensors(one({ shape: [2 ** 27, 2 ** 27] }), float), "'t' has too many elements"],
  ...[undefined, 4, [], [0], [0, 4, 8], [-4, 0], [0, '4'], [0, 4.5]].map(
    (data_offsets): [string, Uint8Array, string] => [
      `the data_offsets ${JSON.stringify(data_offsets)}`,
      safetensors(one({ data_offsets }), float),
      "the data_offsets of 't' are not two offsets",
    ],
  ),
  [
    'sizes whose product overflows on the way to 0',
    safetensors(one({ shape: [2 ** 40, 2 ** 40, 0], data_offsets: [0, 0] })),
    "'t' has too many elements",
  ],
  ['data that ends before it begins', safetensors(one({ data_offsets: [4, 0] }), float), 'ends at 0, before'],
  [
    'a size other than that of the shape',
    safetensors(one({ shape: [1, 2] }), float),
    "'t' takes 8 bytes as F32 [1,2] but has 4",
  ],
  [
    'tensors that overlap',
    safetensors({ ...one(), u: { dtype: 'F32', shape: [1], data_offsets: [2, 6] } }, new Uint8Array(6)),
    "the data of 'u' overlaps that of another tensor",
  ],
  [
    'a hole before the first tensor',
    safetensors(one({ data_offsets: [4, 8] }), new Uint8Array(8)),
    "there is a gap of 4 bytes before the data of 't'",
  ],
  [
    'a hole between tensors',
    safetensors({ ...one(), u: { dtype: 'U8', shape: [1], data_offsets: [5, 6] } }, new Uint8Array(6)),
    "there is a gap of 1 bytes before the data of 'u'",
  ],
  [
    'data beyond its end',
    safetensors(one(), [1, 2, 3]),
    "the data of 't' ends at 4 but the file has only 3: it is truncated",
  ],
  ['bytes behind the last tensor', safetensors(one(), [...float, 9]), '1 bytes follow the last tensor'],
  [
    // 1e15 * 4 bytes: allocating what the header claims would end the process.
    'the claim of petabytes',
    safetensors(one({ shape: [1e15], data_offsets: [0, 4e15] }), float),
    "the data of 't' ends at 4000000000000000 but the file has only 4",
  ],
  [
    'lists 200,000 deep',
    safetensors(`{"t":${'['.repeat(200_000)}${']'.repeat(200_000)}}`),
    'its header is nested more than 3 levels deep',
  ],
  ['200,000 opened lists', safetensors('['.repeat(200_000)), "its header does not begin with '{'"],
  [
    '200,000 opened objects',
    safetensors('{"a":'.repeat(200_000)),
    'its header is nested more than 3 levels deep',
  ],
  ['a bad escape in a key', safetensors('{"\\x":1}'), 'its header is not JSON: '],
  ['a key that never ends', safetensors('{"t'), 'its header is not JSON: '],
  [
    'a shape 200,000 deep',
    safetensors(`{"t":{"dtype":"F32","shape":${'['.repeat(200_000)}1${']'.repeat(200_000)}}}`),
    'its header is nested more than 3 levels deep',
  ],
  [
    // JSON.parse would make gigabytes of a hundred million bytes of such values.
    'two million values',
    safetensors(`{"t":[${'{},'.repeat(2_000_000)}{}]}`),
    'its header has more than 2000000 keys and values',
  ],
]

describe('A file with', () => {
  it.each(damages)('%s is refused', async (_, bytes, message) => {
    writeFileSync(path, bytes)
    const error = await openSafetensors(path).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(ResidualError)
    expect(error).toMatchObject({ code: 'CHECKPOINT_INVALID' })
    expect((error as Error).message).toContain(`${path} is not a valid safetensors file: `)
    expect((error as Error).message).toContain(message)
  })

  it('names of a million characters is refused in few words', async () => {
    const name = 'x'.repeat(1_000_000)
    writeFileSync(path, safetensors({ [name]: { ...one().t, dtype: 'F31' } }, float))
    const error = await openSafetensors(path).catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'CHECKPOINT_INVALID' })
    expect((error as Error).message.length).toBeLessThan(path.length + 600)
  })

  it('100,000 tensors is accepted', async () => {
    const entries = Array.from({ length: 100_000 }, (_, i) => [
      `layer${i}.weight`,
      { dtype: 'U8', shape: [1, 1, 1, 1], data_offsets: [i, i + 1] },
    ])
    writeFileSync(path, safetensors(Object.fromEntries(entries), new Uint8Array(100_000)))
    await using file = await openSafetensors(path)
    expect(file.tensors.size).toBe(100_000)
  })

  it('the same key in several objects is accepted', async () => {
    const header = `{"__metadata__":{"t":"","dtype":""},"t":${entry},"dtype":${JSON.stringify({ dtype: 'U8', shape: [0], data_offsets: [4, 4] })}}`
    writeFileSync(path, safetensors(header, float))
    await using file = await openSafetensors(path)
    expect([...file.tensors.keys()]).toEqual(['t', 'dtype'])
  })

  it('none of this is accepted', async () => {
    writeFileSync(path, safetensors(one(), float))
    await using file = await openSafetensors(path)
    expect(await file.read('t')).toEqual(new Float32Array([1]))
  })

  it('colons, quotes, brackets and backslashes in its names is accepted', async () => {
    const names = ['a"[[[[', 'a:b', 'a"b', 'a\\', ':":\\":', 'é:\u2028']
    const header = Object.fromEntries(
      names.map((name, i) => [name, { dtype: 'U8', shape: [1], data_offsets: [i, i + 1] }]),
    )
    writeFileSync(path, safetensors(header, new Uint8Array(names.length)))
    await using file = await openSafetensors(path)
    expect([...file.tensors.keys()]).toEqual(names)
  })
})
