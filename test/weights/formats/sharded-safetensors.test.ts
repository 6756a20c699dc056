import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openShardedSafetensors } from '../../../lib/weights/formats/safetensors/sharded.ts'
import { safetensors, temporaryFolder } from '../../support/files.ts'

const folder = temporaryFolder()
const index = join(folder, 'model.safetensors.index.json')

/** A file of tensors with one number each. */
function shard(name: string, tensors: { readonly [name: string]: number }) {
  const values = Object.entries(tensors)
  const header = values.map(([tensor], i) => [
    tensor,
    { dtype: 'F32', shape: [1], data_offsets: [4 * i, 4 * i + 4] },
  ])
  const data = new Uint8Array(Float32Array.from(values, ([, value]) => value).buffer)
  writeFileSync(join(folder, name), safetensors(Object.fromEntries(header), data))
}

function opening(json: unknown) {
  writeFileSync(index, typeof json === 'string' ? json : JSON.stringify(json))
  return openShardedSafetensors(index)
}

describe('openShardedSafetensors', () => {
  shard('one.safetensors', { a: 1, b: 2 })
  shard('two.safetensors', { c: 3 })
  const map = { a: 'one.safetensors', b: 'one.safetensors', c: 'two.safetensors' }

  it('reads each tensor from the file that has it', async () => {
    await using checkpoint = await opening({ metadata: { total_size: 12 }, weight_map: map })
    expect(checkpoint.format).toBe('safetensors (sharded)')
    expect([...checkpoint.metadata]).toEqual([['total_size', '12']])
    expect([...checkpoint.tensors].map(([name, { shape, dtype }]) => [name, shape, dtype])).toEqual(
      ['a', 'b', 'c'].map(name => [name, [1], 'F32']),
    )
    for (const [name, value] of [['a', 1], ['b', 2], ['c', 3]] as const) // biome-ignore format: a table
      expect(await checkpoint.read(name)).toEqual(new Float32Array([value]))
    await expect(checkpoint.read('d')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
    await checkpoint.close()
    await expect(checkpoint.read('a')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })

  it.each([
    '../one.safetensors',
    '/etc/passwd',
    'sub/one.safetensors',
    'sub\\one',
    '..',
    '.',
    '',
    'C:one',
    'a\0b',
  ])('refuses the name %j: it leads out of the folder', async name => {
    await expect(opening({ weight_map: { a: name } })).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('which is not a file in its own folder'),
    })
  })

  it.each([
    ['a shard that is missing', { weight_map: { a: 'none' } }, 'FILE_NOT_FOUND', 'does not exist'],
    [
      'a tensor that is absent',
      { weight_map: { ...map, d: 'two.safetensors' } },
      'CHECKPOINT_INVALID',
      "lists 'd' in two",
    ],
    [
      'a tensor that is not listed',
      { weight_map: { a: 'one.safetensors' } },
      'CHECKPOINT_INVALID',
      "has 'b', which its index does not list",
    ],
    ['no map', { metadata: {} }, 'CHECKPOINT_INVALID', "no 'weight_map'"],
    ['no object', [], 'CHECKPOINT_INVALID', "no 'weight_map'"],
    ['no file', { weight_map: { a: 1 } }, 'CHECKPOINT_INVALID', "names no file for 'a'"],
    ['a tensor listed twice', '{"weight_map":{"a":"one","a":"two"}}', 'CHECKPOINT_INVALID', 'twice'],
    ['no JSON', '{"weight_map":', 'CHECKPOINT_INVALID', 'not JSON'],
    [
      'too many files',
      { weight_map: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [i, `f${i}`])) },
      'CHECKPOINT_INVALID',
      '65 files',
    ],
  ])('says what is wrong with %s', async (_, json, code, message) => {
    // biome-ignore format: a table
    await expect(opening(json)).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
  })

  it('says that a tensor is in two files', async () => {
    shard('again.safetensors', { a: 7, d: 8 })
    await expect(opening({ weight_map: { ...map, d: 'again.safetensors' } })).rejects.toMatchObject({
      message: expect.stringContaining("'a' is in again.safetensors and in one.safetensors"),
    })
  })
})
