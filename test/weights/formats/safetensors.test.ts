import { execFileSync } from 'node:child_process'
import { renameSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ResidualError } from '../../../lib/index.ts'
import { openSafetensors } from '../../../lib/weights/formats/safetensors/open-safetensors.ts'
import { safetensors, seeded, temporaryFolder } from '../../support/files.ts'

const folder = temporaryFolder()
const path = join(folder, 'model.safetensors')

/** Opens a file of these bytes. */
function opening(bytes: Uint8Array) {
  writeFileSync(path, bytes)
  return openSafetensors(path)
}

/** Reads tensor `t` of a file that holds only it. */
async function readAlone(dtype: string, shape: readonly number[], data: readonly number[]) {
  await using file = await opening(safetensors({ t: { dtype, shape, data_offsets: [0, data.length] } }, data))
  return await file.read('t')
}

describe('openSafetensors', () => {
  it('reads a file made byte by byte', async () => {
    const header =
      '{"__metadata__":{"from":"hand"},' +
      '"f32":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},' +
      '"f16":{"dtype":"F16","shape":[3],"data_offsets":[8,14]},' +
      '"bf16":{"dtype":"BF16","shape":[],"data_offsets":[14,16]},' +
      '"empty":{"dtype":"F32","shape":[0,7],"data_offsets":[16,16]},' +
      '"f64":{"dtype":"F64","shape":[1],"data_offsets":[16,24]}}   '
    // biome-ignore format: a line per tensor
    const data = [
      0x00, 0x00, 0xc0, 0x3f, 0x00, 0x00, 0x00, 0xc0, // 1.5, -2
      0x00, 0x3c, 0x01, 0x00, 0xff, 0xfb, // 1, 2^-24, -65504
      0x20, 0xc1, // -10
      0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f, // 0.1
    ]
    await using file = await opening(safetensors(header, data))
    expect([...file.metadata]).toEqual([['from', 'hand']])
    expect([...file.tensors.values()].map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([
      ['f32', 'F32', [1, 2]],
      ['f16', 'F16', [3]],
      ['bf16', 'BF16', []],
      ['empty', 'F32', [0, 7]],
      ['f64', 'F64', [1]],
    ])
    expect(await file.read('f32')).toEqual(new Float32Array([1.5, -2]))
    expect(await file.read('f16')).toEqual(new Float32Array([1, 2 ** -24, -65504]))
    expect(await file.read('bf16')).toEqual(new Float32Array([-10]))
    expect(await file.read('empty')).toEqual(new Float32Array(0))
    expect(await file.read('f64')).toEqual(new Float32Array([0.1]))
    await expect(file.read('g')).rejects.toMatchObject({
      code: 'TENSOR_NOT_FOUND',
      message: `There is no tensor 'g' in ${path}.`,
    })
  })

  it('gives each caller an array of its own', async () => {
    await using file = await opening(
      safetensors({ t: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } }, [0, 0, 0x80, 0x3f]),
    )
    const first = await file.read('t')
    first[0] = 7
    expect(await file.read('t')).toEqual(new Float32Array([1]))
  })

  it('reads tensors longer than a chunk, from wherever they begin', async () => {
    const length = (4 << 20) / 2 + 3 // 16-bit numbers, in chunks of 4 MiB
    const values = Uint16Array.from({ length }, (_, i) => (i * 31 + (i >> 10)) % 0x7c00) // finite, no two chunks alike
    const end = 2 + 2 * length
    const file = safetensors(
      {
        first: { dtype: 'F16', shape: [1], data_offsets: [0, 2] },
        long: { dtype: 'F16', shape: [length], data_offsets: [2, end] },
      },
      [1, 0],
    )
    await using opened = await opening(Buffer.concat([file, Buffer.from(values.buffer)]))
    const read = await opened.read('long')
    const wrong = read.findIndex((value, i) => {
      const exponent = values[i]! >> 10
      const fraction = values[i]! % 1024
      return value !== (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
    })
    expect(read).toHaveLength(length)
    expect(wrong).toBe(-1)
  })

  it('takes a file without tensors, and tensors in any order of the header', async () => {
    await using none = await opening(safetensors({}))
    expect(none.tensors.size).toBe(0)
    const two = {
      second: { dtype: 'U8', shape: [2], data_offsets: [1, 3] },
      first: { dtype: 'U8', shape: [], data_offsets: [0, 1] },
    }
    await using file = await opening(safetensors(two, [1, 2, 3]))
    expect([...file.tensors.keys()]).toEqual(['first', 'second'])
    const empty = { ...two, empty: { dtype: 'F32', shape: [0], data_offsets: [1, 1] } }
    await using withEmpty = await opening(safetensors(empty, [1, 2, 3]))
    expect([...withEmpty.tensors.keys()]).toEqual(['first', 'empty', 'second'])
  })

  it('treats tensors with the names of properties as any others', async () => {
    const entry = (at: number) => `{"dtype":"F32","shape":[1],"data_offsets":[${at},${at + 4}]}`
    const header = `{"__proto__":${entry(0)},"constructor":${entry(4)}}`
    await using file = await opening(safetensors(header, [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]))
    expect(await file.read('__proto__')).toEqual(new Float32Array([1]))
    expect(await file.read('constructor')).toEqual(new Float32Array([2]))
    await expect(file.read('toString')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
    expect(({} as { dtype?: unknown }).dtype).toBeUndefined()
  })

  it('lists tensors of integers and refuses to read them', async () => {
    const header = { n: { dtype: 'I64', shape: [1], data_offsets: [0, 8] } }
    await using file = await opening(safetensors(header, new Uint8Array(8)))
    expect(file.tensors.get('n')).toMatchObject({ dtype: 'I64', length: 1 })
    await expect(file.read('n')).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining("'n' is I64; weights must be F32, F16, BF16, F64, or I8 with scales"),
    })
  })

  it.each([
    ['NaN in F32', 'F32', [2], [0, 0, 0, 0, 0, 0, 0xc0, 0x7f], 'NaN at index 1'],
    ['infinity in F32', 'F32', [1], [0, 0, 0x80, 0x7f], 'Infinity at index 0'],
    ['infinity in F16', 'F16', [2], [0, 0, 0, 0xfc], '-Infinity at index 1'],
    ['NaN in BF16', 'BF16', [1], [0xc0, 0xff], 'NaN at index 0'],
    ['more than float32 holds in F64', 'F64', [1], [0, 0, 0, 0, 0, 0, 0xf0, 0x7e], 'Infinity at index 0'],
  ])('refuses %s', async (_, dtype, shape, data, message) => {
    await expect(readAlone(dtype, shape, data)).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: `'t' in ${path} is ${message}.`,
    })
  })

  it('says that a file is missing, or is none', async () => {
    await expect(openSafetensors(join(folder, 'none'))).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining('does not exist'),
    })
    await expect(openSafetensors(folder)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('it is not a file'),
    })
  })

  it.each(['F32', 'F16', 'F64'])('notices that a file was cut short after it was opened: %s', async dtype => {
    const bytes = 16 * { F32: 4, F16: 2, F64: 8 }[dtype]!
    const whole = safetensors({ t: { dtype, shape: [16], data_offsets: [0, bytes] } }, new Uint8Array(bytes))
    await using file = await opening(whole)
    truncateSync(path, whole.length - 1)
    await expect(file.read('t')).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(`it ends at ${whole.length - 1} bytes`),
    })
  })

  it('notices that a file was overwritten after it was opened', async () => {
    const whole = safetensors({ t: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } }, [0, 0, 0x80, 0x3f])
    await using file = await opening(whole)
    expect(await file.read('t')).toEqual(new Float32Array([1]))
    writeFileSync(path, whole.fill(0, whole.length - 4))
    utimesSync(path, 1, 1) // some systems' clocks are coarse
    await expect(file.read('t')).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('it has changed since it was opened'),
    })
  })

  it('reads on from a file whose name another has taken', async () => {
    const header = { t: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } }
    await using file = await opening(safetensors(header, [0, 0, 0x80, 0x3f]))
    const other = join(folder, 'other')
    writeFileSync(other, 'another file')
    renameSync(other, path)
    expect(await file.read('t')).toEqual(new Float32Array([1]))
  })

  it('says that a closed file cannot be read, and closes twice', async () => {
    const file = await opening(
      safetensors({ t: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } }, new Uint8Array(4)),
    )
    await file.close()
    await file.close()
    await expect(file.read('t')).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining(`${path} cannot be read: `),
      cause: expect.any(Error),
    })
  })

  it('refuses a tensor larger than the memory', async () => {
    const bytes = 2 ** 40 // of a sparse file, which takes no space
    const header = { t: { dtype: 'F32', shape: [bytes / 4], data_offsets: [0, bytes] } }
    const start = safetensors(header)
    writeFileSync(path, start)
    truncateSync(path, start.length + bytes)
    await using file = await openSafetensors(path)
    await expect(file.read('t')).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: `'t' in ${path} needs ${bytes} bytes as float32, more than is available.`,
    })
  })

  it('loads 3,000 damaged files or refuses them, and nothing else', { timeout: 120_000 }, async () => {
    const random = seeded(1)
    const below = (n: number) => Math.floor(random() * n)
    const whole = safetensors(
      {
        __metadata__: { format: 'pt' },
        a: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] },
        b: { dtype: 'F16', shape: [64], data_offsets: [24, 152] },
      },
      Array.from({ length: 152 }, (_, i) => (i % 2 ? 0x7b : i)), // near the largest F16
    )
    const outcomes = new Set<string>()
    for (let i = 0; i < 3000; i++) {
      const bytes = Buffer.from(whole)
      for (let flips = 1 + below(3); flips > 0; flips--) {
        // Most of what can go wrong is in the first bytes: the length and the header.
        bytes[below(2) ? below(16) : below(bytes.length)] = below(2) ? below(256) : 0x20 + below(96)
      }
      const damaged = below(4) ? bytes : bytes.subarray(0, below(bytes.length))
      try {
        await using file = await opening(damaged)
        for (const name of file.tensors.keys()) await file.read(name)
        outcomes.add('loaded')
      } catch (error) {
        if (!(error instanceof ResidualError)) throw error
        outcomes.add(error.code)
      }
    }
    expect(outcomes).toEqual(new Set(['loaded', 'CHECKPOINT_INVALID', 'NON_FINITE']))
  })
})

it.skipIf(process.platform === 'win32')(
  'refuses a pipe at once, rather than wait for somebody to write',
  async () => {
    const path = join(temporaryFolder(), 'pipe.safetensors')
    execFileSync('mkfifo', [path])
    await expect(openSafetensors(path)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
  },
)
