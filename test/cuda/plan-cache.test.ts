import { execFile } from 'node:child_process'
import { chmod, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { compilePlan, createSession, readGpu } from '../../lib/index.ts'
import { tinyBytes, tinyPlan, tinyWeights } from '../support/tiny.ts'
import { noTwin, twinGpu, useTwin } from '../support/twin.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-cache-'))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await chmod(folder, 0o755)
  await rm(folder, { recursive: true })
})

/** fp32, as cuDNN need not compile most of its plans. */
const options = () => ({ ...useTwin(), precision: 'fp32', batchSizes: [2], planCache: folder }) as const

async function logits(extra = {}) {
  await using session = await createSession(tinyPlan, tinyWeights, { ...options(), ...extra })
  return (await session.run(tinyBytes(2))).logits
}

/**
 * How many of the plan's four convolutions and the linear layer cuDNN runs in fp32: all, but 9.12 has no engine that adds a residual
 * without rounding to tf32.
 */
async function plansOfCudnn(): Promise<number> {
  useTwin()
  const gpu = readGpu(twinGpu)
  const reports = await compilePlan(tinyPlan, { gpu, precision: 'fp32', batch: 2, out: null })
  const by = reports.filter(({ key }) => key !== null).map(report => report.by)
  expect(by).toHaveLength(5)
  const count = by.filter(name => name === 'cuDNN').length
  expect(count).toBeGreaterThanOrEqual(4)
  return count
}

const entries = async () => (await readdir(folder)).sort()
/** What tells that an entry was written anew. */
const written = async () =>
  Promise.all((await entries()).map(async name => [name, (await stat(join(folder, name))).ino] as const))

describe.skipIf(noTwin)('the cache of compiled plans', () => {
  it('is filled by the first session and left alone by the next', async () => {
    const first = await logits()
    const before = await written()
    expect(before).toHaveLength(await plansOfCudnn())
    expect(before.every(([name]) => /^[0-9a-f]{16}\.plan$/.test(name))).toBe(true)
    expect(await logits()).toEqual(first)
    expect(await written()).toEqual(before)
  })

  it('is filled ahead of time by compilePlan, for the sessions of a GPU of that kind', async () => {
    useTwin()
    const reports = await compilePlan(tinyPlan, {
      gpu: readGpu(twinGpu),
      precision: 'fp32' as const,
      batch: 2,
      out: folder,
    })
    const planned = reports.filter(report => report.by === 'cuDNN')
    expect(planned.map(report => report.cached)).toEqual(Array(await plansOfCudnn()).fill(false))
    const before = await written()
    await logits()
    expect(await written()).toEqual(before)
    await logits({ batchSizes: [3] }) // of another shape
    expect(await entries()).toHaveLength(2 * planned.length)
    const again = await compilePlan(tinyPlan, {
      gpu: readGpu(twinGpu),
      precision: 'fp32' as const,
      batch: 2,
      out: folder,
    })
    expect(again.filter(report => report.cached).map(({ name }) => name)).toEqual(
      planned.map(({ name }) => name),
    )
  })

  it('rebuilds a damaged entry', async () => {
    const compiled = { precision: 'fp16' } as const // with machine code in it
    const expected = await logits(compiled)
    const names = await entries()
    const whole = await Promise.all(names.map(name => readFile(join(folder, name))))
    const damages: ((path: string, bytes: Buffer) => Promise<void>)[] = [
      path => truncate(path, 0),
      (path, bytes) => truncate(path, bytes.length - 1),
      (path, _bytes) => truncate(path, 40),
      (path, bytes) => writeFile(path, Buffer.concat([bytes, Buffer.from('}')])),
      (path, bytes) => writeFile(path, flipped(bytes, bytes.length >> 1)), // in the machine code
      (path, bytes) => writeFile(path, flipped(bytes, 20)), // in the key
      path => writeFile(path, whole.at(-1)!), // of another key
      path => writeFile(path, Buffer.alloc(1000, 10)),
    ]
    const target = join(folder, names[0]!)
    for (const [i, damage] of damages.entries()) {
      await damage(target, whole[0]!)
      const { ino } = await stat(target)
      expect(await logits(compiled), `damage ${i}`).toEqual(expected)
      expect((await stat(target)).ino, `damage ${i}`).not.toBe(ino) // cuDNN would not mind a flipped bit in a kernel
      const rebuilt = await readFile(target, 'latin1')
      expect(rebuilt.split('\n')[1], `damage ${i}`).toBe(whole[0]!.toString('latin1').split('\n')[1])
      const before = await written()
      await logits(compiled)
      expect(await written(), `damage ${i}`).toEqual(before) // so it is whole again
    }
    expect(await entries()).toEqual(names)
  })

  it('rebuilds an intact entry that cuDNN refuses', async () => {
    const expected = await logits()
    const [name] = await entries()
    const text = await readFile(join(folder, name!), 'latin1')
    const key = text.split('\n')[1]!
    const json = '{"cudnnVersion":1}'
    const entry = `residual-plan 1\n${key}\n0 ${json.length} ${fnv(key + json)}\n\n${json}`
    await writeFile(join(folder, name!), entry)
    expect(await logits()).toEqual(expected)
    expect((await readFile(join(folder, name!), 'latin1')).length).toBeGreaterThan(1000)
  })

  it('does not stop a session from working if it cannot be written', async () => {
    const expected = await logits()
    const file = join(folder, 'file')
    await writeFile(file, '')
    expect(await logits({ planCache: join(file, 'below') })).toEqual(expected)
    expect(await logits({ planCache: null })).toEqual(expected)
    expect(await logits({ planCache: '/proc/nowhere' })).toEqual(expected)
  })

  it('is warned of, once, where it cannot be written and timing is asked for', async () => {
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const autotune = true
    const expected = await logits({ autotune, planCache: null })
    await logits({ autotune })
    await logits({ planCache: '/proc/nowhere' }) // where nothing is timed
    expect(warnings).not.toHaveBeenCalled()
    for (let session = 0; session < 2; session++)
      expect(await logits({ autotune, planCache: '/proc/nowhere' })).toEqual(expected)
    expect(warnings.mock.calls).toEqual([
      [
        expect.objectContaining({
          code: 'FILE_WRITE_FAILED',
          message: expect.stringMatching(
            /^Autotune cannot store its timings in \/proc\/nowhere: .*planCache/,
          ),
        }),
      ],
    ])
    warnings.mockRestore()
  })

  it('can be filled by two processes at once', async () => {
    // In tf32 most plans come compiled with cuDNN.
    const model = ['--model', 'resnet50-cifar10', '--precision', 'tf32', '--gpu', twinGpu, '--out', folder]
    const residual = () =>
      promisify(execFile)(process.execPath, [join(packageRoot, 'bin', 'residual.js'), 'compile', ...model])
    await Promise.all([residual(), residual()])
    expect((await entries()).filter(name => !name.endsWith('.plan'))).toEqual([])
    const { stdout } = await residual()
    expect(stdout.match(/\(cached\)/g)).toHaveLength((await entries()).length)
  })

  it('prefers tuned plans if autotune is on', async () => {
    await logits()
    const before = await written()
    await logits({ autotune: true })
    const tuned = await written()
    expect(tuned.every(([, ino], i) => ino !== before[i]![1])).toBe(true)
    await logits()
    await logits({ autotune: true })
    expect(await written()).toEqual(tuned)
  })
})

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at]! ^= 1
  return copy
}

/** The checksum of native/cuda/plan_cache.cc. */
function fnv(text: string): string {
  let state = 0xcbf29ce484222325n
  for (const byte of Buffer.from(text, 'latin1'))
    state = ((state ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn
  return state.toString(16).padStart(16, '0')
}
