import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { openSafetensors } from '../../../lib/weights/formats/safetensors/open-safetensors.ts'
import {
  type NamedTensor,
  type WriteOptions,
  writeSafetensors,
} from '../../../lib/weights/formats/safetensors/write.ts'
import { seeded, temporaryFolder } from '../../support/files.ts'

const folder = join(temporaryFolder(), 'out')
const path = join(folder, 'model.safetensors')

beforeEach(() => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
})

const tensor = (name: string, shape: number[], data: number[]): NamedTensor => ({
  name,
  shape,
  data: new Float32Array(data),
})

/** What `tensors` are once written and read. */
async function roundTrip(tensors: readonly NamedTensor[], options?: WriteOptions) {
  await writeSafetensors(path, tensors, options)
  await using file = await openSafetensors(path)
  const result: NamedTensor[] = []
  for (const { name, shape } of file.tensors.values()) {
    result.push({ name, shape, data: await file.read(name) })
  }
  return result
}

describe('writeSafetensors', () => {
  it('writes the bytes that the format prescribes', async () => {
    await writeSafetensors(path, [tensor('a', [2], [1, -2])], { metadata: { k: 'v' } })
    const json = '{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    const header = json.padEnd(Math.ceil(json.length / 8) * 8, ' ')
    const length = Buffer.from([header.length, 0, 0, 0, 0, 0, 0, 0])
    const data = Buffer.from([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0])
    expect(readFileSync(path)).toEqual(Buffer.concat([length, Buffer.from(header), data]))
  })

  it('keeps values, shapes, names and their order', async () => {
    const random = seeded(7)
    const tensors = [
      tensor('layer1.0.conv1.weight', [2, 3, 1, 1], Array.from({ length: 6 }, random)),
      tensor('scalar', [], [-0]),
      tensor('empty', [0, 4], []),
      tensor('__proto__', [1], [3]),
      tensor('2', [1], [2 ** -149]),
      tensor('1', [1], [2 ** 127]),
      tensor('é "\\ \u2028', [1], [5]),
    ]
    const order = (all: readonly NamedTensor[]) => all.map(({ name }) => name)
    const read = await roundTrip(tensors)
    expect(read).toEqual(tensors)
    expect(order(read)).toEqual(order(tensors))
  })

  it.each([
    ['F16', [1, -2, 2 ** -24, 65504, 1 / 3], [1, -2, 2 ** -24, 65504, 1365 / 4096]],
    ['BF16', [1, -2, 2 ** 127, 2 ** -133, 1 / 3], [1, -2, 2 ** 127, 2 ** -133, 171 / 512]],
  ] as const)('rounds to %s', async (dtype, values, rounded) => {
    const [read] = await roundTrip([tensor('t', [5], [...values])], { dtype })
    expect(read!.data).toEqual(new Float32Array(rounded))
    expect(readFileSync(path).toString('latin1')).toContain(`"dtype":"${dtype}"`)
  })

  it.each([
    ['F16', 65519, 65504],
    ['BF16', (2 - 2 ** -8 - 2 ** -23) * 2 ** 127, (2 - 2 ** -7) * 2 ** 127],
  ] as const)('takes, as %s, %f, which rounds to the largest value %f', async (dtype, value, largest) => {
    const [read] = await roundTrip([tensor('t', [2], [value, -value])], { dtype })
    expect(read!.data).toEqual(new Float32Array([largest, -largest]))
  })

  it.each(['F16', 'BF16'] as const)('converts tensors longer than a piece to %s', async dtype => {
    const length = (1 << 20) + 3
    // Numbers that both types hold; no two pieces are alike.
    const data = Float32Array.from({ length }, (_, i) => ((i % 127) + 1) * 2 ** ((i >> 17) - 4))
    const [read] = await roundTrip([{ name: 't', shape: [length], data }], { dtype })
    expect(read!.data.findIndex((value, i) => value !== data[i])).toBe(-1)
    expect(read!.data).toHaveLength(length)
  })

  it('writes a part of a larger buffer, and only it', async () => {
    const data = new Float32Array([1, 2, 3, 4]).subarray(1, 3)
    expect(await roundTrip([{ name: 't', shape: [2], data }])).toEqual([tensor('t', [2], [2, 3])])
  })

  it('begins the data at a multiple of 8, however long the names', async () => {
    const remainders = new Set<number>()
    for (let length = 1; length <= 8; length++) {
      await writeSafetensors(path, [tensor('x'.repeat(length), [1], [1])])
      const bytes = readFileSync(path)
      const header = Number(bytes.readBigUInt64LE())
      expect(header % 8).toBe(0)
      expect(bytes).toHaveLength(8 + header + 4)
      remainders.add(
        bytes
          .subarray(8, 8 + header)
          .toString()
          .trimEnd().length % 8,
      )
    }
    expect(remainders.size).toBe(8)
  })

  it('writes the same bytes for the same tensors, and takes the place of an older file', async () => {
    const tensors = [tensor('a', [2], [1, 2]), tensor('b', [], [3])]
    await writeSafetensors(path, tensors, { dtype: 'F16', metadata: { a: '1' } })
    const first = readFileSync(path)
    await writeSafetensors(path, [tensor('other', [100], Array(100).fill(1))])
    await writeSafetensors(path, tensors, { dtype: 'F16', metadata: { a: '1' } })
    expect(readFileSync(path)).toEqual(first)
    expect(readdirSync(folder)).toEqual(['model.safetensors'])
  })

  it('keeps the metadata', async () => {
    const metadata = { format: 'pt', __proto: 'é', empty: '' }
    await writeSafetensors(path, [], { metadata })
    await using file = await openSafetensors(path)
    expect(Object.fromEntries(file.metadata)).toEqual(metadata)
  })

  it.each([
    ['too few values', [tensor('t', [2, 2], [1, 2, 3])], "4 values for [2,2] for 't' but received 3"],
    ['too many values', [tensor('t', [], [1, 2])], "1 values for [] for 't' but received 2"],
    ['sizes below 0', [tensor('t', [-1, -2], [1, 2])], "each size of 't' but received -1"],
    ['sizes that are no integers', [tensor('t', [0.5, 4], [1, 2])], "each size of 't' but received 0.5"],
    ['a name twice', [tensor('t', [1], [1]), tensor('t', [1], [2])], 'each tensor but received "t"'],
    ["the metadata's name", [tensor('__metadata__', [1], [1])], 'received "__metadata__"'],
  ])('refuses %s and writes nothing', async (_, tensors, message) => {
    const writing = writeSafetensors(path, tensors)
    await expect(writing).rejects.toThrow(RangeError)
    await expect(writing).rejects.toThrow(message)
    expect(readdirSync(folder)).toEqual([])
  })

  it.each([
    ['F32', Number.NaN],
    ['F32', Number.NEGATIVE_INFINITY],
    ['F16', 70000],
    ['F16', -70000],
    ['F16', 65520],
    ['BF16', Number.POSITIVE_INFINITY],
    ['BF16', -(2 - 2 ** -23) * 2 ** 127], // the largest float32, which rounds to infinity
  ] as const)('refuses, as %s, the value %f', async (dtype, value) => {
    writeFileSync(path, 'old')
    await expect(writeSafetensors(path, [tensor('t', [2], [0, value])], { dtype })).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: `'t' is ${Math.fround(value)} at index 1, which ${dtype} cannot represent.`,
    })
    expect(readdirSync(folder)).toEqual(['model.safetensors'])
    expect(readFileSync(path, 'utf8')).toBe('old')
  })

  it.each([
    ['the folder is missing', () => join(folder, 'none', 'model')],
    ['the folder is a file', () => join(folder, 'file', 'model')],
    ['a folder is in the way', () => join(folder, 'way')],
    ['the name is too long', () => join(folder, 'x'.repeat(256))],
  ])('leaves everything as it was where %s', async (_, target) => {
    writeFileSync(join(folder, 'file'), 'old')
    mkdirSync(join(folder, 'way', 'full'), { recursive: true })
    const before = readdirSync(folder, { recursive: true })
    await expect(writeSafetensors(target(), [tensor('t', [1], [1])])).rejects.toMatchObject({
      code: 'FILE_WRITE_FAILED',
      message: expect.stringContaining(`${target()} could not be written: `),
      cause: expect.any(Error),
    })
    expect(readdirSync(folder, { recursive: true })).toEqual(before)
    expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('old')
  })

  it.skipIf(process.platform === 'win32')('leaves the old file alone where space runs out half-way', () => {
    writeFileSync(path, 'old')
    const module = new URL('../../../lib/weights/formats/safetensors/write.ts', import.meta.url)
    const script = `
      const { writeSafetensors } = await import('${module}')
      const tensor = name => ({ name, shape: [2 ** 20], data: new Float32Array(2 ** 20) })
      const error = await writeSafetensors(process.argv[1], [tensor('a'), tensor('b')]).catch(error => error)
      console.log(error.code, error.cause?.code)`
    // No file of this process may grow beyond 6 or, by other shells' units, 3 MiB.
    const { stdout, stderr } = spawnSync(
      'sh',
      [
        '-c',
        'ulimit -f 6144 && exec "$0" --import tsx --input-type=module -e "$1" "$2"',
        process.execPath,
        script,
        path,
      ],
      { encoding: 'utf8' },
    )
    expect(stderr).toBe('')
    expect(stdout.trim()).toBe('FILE_WRITE_FAILED EFBIG')
    expect(readdirSync(folder)).toEqual(['model.safetensors'])
    expect(readFileSync(path, 'utf8')).toBe('old')
  })
})
