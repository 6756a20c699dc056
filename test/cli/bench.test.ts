import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import type { Case } from '../../lib/benchmark/benchmark.ts'
import type { OpResult } from '../../lib/benchmark/ops.ts'
import { lower, resnet } from '../../lib/index.ts'
import { reducedKernels } from '../../lib/runtime/native.ts'
import { choiceKey } from '../../lib/runtime/tuning/algorithm-cache.ts'
import { residual } from '../support/command-line.ts'

const shortly = ['--seconds', '0.01', '--batch', '1', '--threads', '1', '--starts', '0']
let folder: string // with nothing of Node's in it or above it
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-bench-cli-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('residual bench', () => {
  it('measures residual alone if onnxruntime is not installed, and says how to get it', async () => {
    const { code, stdout, stderr } = await residual(folder, ['bench', ...shortly])
    expect(code).toBe(0)
    expect(stderr).toMatch(/onnxruntime-node is not available to compare with .*npm install onnxruntime-node/)
    expect(stdout).toMatch(
      /^resnet50-cifar10 +1 +1 +fp32 +residual +[\d.]+ \([\d.]+-[\d.]+\) +[\d.]+ +\d+ +\d+ % +100.0 % +0e\+0$/m,
    )
    expect(stdout).not.toMatch(/^ +onnxruntime/m)
  })

  it('compares with the onnxruntime of the working directory, as JSON and as a chart', async () => {
    const svg = join(folder, 'chart.svg')
    const args = ['bench', '--json', '--svg', svg, '--batch', '1,2', '--threads', '1', '--seconds', '0.01']
    const { code, stdout } = await residual(packageRoot, [...args, '--starts', '1'])
    expect(code).toBe(0)
    const { cases, versions, isa, machine } = JSON.parse(stdout)
    expect(Object.keys(versions)).toEqual(['residual', 'onnxruntime'])
    expect(isa).toMatch(/^(avx512|avx2|baseline)$/)
    expect(machine).toMatchObject({ node: process.version })
    expect(cases.map((c: { batch: number }) => c.batch)).toEqual([1, 2])
    for (const { peak, results } of cases) {
      expect(peak.before).toBeGreaterThan(0)
      const [ours, theirs] = results
      expect(ours.ratio).toBeNull()
      const ratios = theirs.times
        .map((ms: number, i: number) => ms / ours.times[i])
        .sort((a: number, b: number) => a - b)
      expect(theirs.ratio.median).toBeCloseTo(ratios[2], 9) // of five
      for (const result of results) {
        expect(result.startMs.median).toBeGreaterThan(1)
        if (process.platform === 'linux') expect(result.peakBytes).toBeGreaterThan(2 ** 20)
      }
    }
    expect(await sharp(svg).metadata()).toMatchObject({ format: 'svg', width: 900 })
  })

  it('compares each operation with the onnxruntime nodes that do the same', async () => {
    const args = ['bench', '--op', '--json', '--model', 'resnet18', '--size', '32', ...shortly]
    const { code, stdout } = await residual(packageRoot, args)
    expect(code).toBe(0)
    const [{ ops, all, onnxRuntimeRestMs }] = JSON.parse(stdout).opCases
    const plan = lower(resnet({ layers: 18 }), { height: 32, width: 32, mean: [0, 0, 0], std: [1, 1, 1] })
    expect(ops.map((op: { name: string }) => op.name)).toEqual(plan.ops.map(({ name }) => name))
    for (const { kind, times } of ops as OpResult[])
      if (kind === 'conv' || kind === 'linear') {
        const { milliseconds, onnxRuntimeMs, ratio } = times
        expect(milliseconds.low).toBeGreaterThan(0)
        expect(ratio!.median).toBeGreaterThanOrEqual(onnxRuntimeMs!.low / milliseconds.high)
        expect(ratio!.median).toBeLessThanOrEqual(onnxRuntimeMs!.high / milliseconds.low)
      }
    expect(onnxRuntimeRestMs.median).toBeLessThan(all.onnxRuntimeMs.median / 2)
    expect(all.ratio.low).toBeLessThanOrEqual(all.ratio.high)
  })

  it('compares the operations of one and the same quantized network in int8', async () => {
    const args = ['bench', '--op', '--json', '--precision', 'int8', '--model', 'resnet18', '--size', '32']
    const { code, stdout } = await residual(packageRoot, [...args, ...shortly])
    expect(code).toBe(0)
    const [{ precision, ops }] = JSON.parse(stdout).opCases
    expect(precision).toBe('int8')
    const convolutions = (ops as OpResult[]).filter(({ kind }) => kind === 'conv')
    expect(convolutions).toHaveLength(20)
    for (const { times } of convolutions) expect(times.onnxRuntimeMs!.low).toBeGreaterThan(0)
    const conversions = (ops as OpResult[]).filter(({ kind }) => kind === 'convert')
    for (const { times } of conversions) expect(times).toMatchObject({ onnxRuntimeMs: null, ratio: null })
  })

  it('tells how often engines agree, in each precision, on images of a folder', async () => {
    const images = await mkdtemp(join(folder, 'images-'))
    for (let i = 0; i < 8; i++) {
      const create = { width: 80, height: 70, channels: 3, background: { r: i * 30, g: 99, b: 200 } } as const
      await sharp({ create })
        .png()
        .toFile(join(images, `${i}.png`))
    }
    const args = ['bench', '--json', '--precision', 'bf16,int8', '--images', images, '--samples', '100']
    const { code, stdout } = await residual(packageRoot, [...args, ...shortly])
    expect(code).toBe(0)
    const { cases, kernels } = JSON.parse(stdout)
    expect(kernels.int8).toBe(reducedKernels().int8)
    expect(cases.map((one: Case) => [one.precision, one.results.map(({ engine }) => engine)])).toEqual([
      ['bf16', ['residual', 'residual fp32']],
      ['int8', ['residual', 'residual fp32', 'onnxruntime']],
    ])
    for (const { results } of cases as Case[])
      for (const { agreement } of results) expect([0, 0.25, 0.5, 0.75, 1]).toContain(agreement) // half of them
  })

  it('prints operations as a table, alone if there is nothing to compare with', async () => {
    const compared = await residual(packageRoot, ['bench', '--op', ...shortly])
    const alone = await residual(folder, ['bench', '--op', ...shortly])
    const spread = '[\\d.]+ \\([\\d.]+-[\\d.]+\\)'
    const row = (ratio: string) =>
      new RegExp(`^fc linear +1x1x512 -> 1x1x10 +direct( +${spread} +\\d+ +\\d+ %)${ratio}$`, 'm')
    expect(compared.stdout).toMatch(row(`{2} +${spread}`))
    expect(alone.stdout).toMatch(row(''))
    for (const { code, stdout } of [compared, alone]) {
      expect(code).toBe(0)
      expect(stdout).toMatch(/^all +[\d.]+/m)
    }
  })

  it('autotunes residual on request, and says what it chose', async () => {
    const cache = await mkdtemp(join(folder, 'cache-'))
    vi.stubEnv('RESIDUAL_CACHE_DIR', cache)
    const { stdout } = await residual(folder, ['bench', '--op', '--autotune', '--json', ...shortly])
    const [name, ...others] = await readdir(cache)
    expect(others).toEqual([])
    const { choices } = JSON.parse(await readFile(join(cache, name!), 'utf8'))
    const { opCases, versions } = JSON.parse(stdout)
    expect(versions.residual).toMatch(/ with autotune$/)
    const shared = { kernel: 3, padding: 1, groups: 1, residual: false, relu: true }
    const used = new Map(
      (opCases[0].ops as OpResult[])
        .filter(({ name }) => /conv2$/.test(name))
        .map(({ from, to, algorithm }) => {
          const stride = from!.height / to.height
          return [choiceKey({ src: from, dst: to, stride, ...shared }), algorithm]
        }),
    )
    for (const [convolution, choice] of Object.entries(choices)) expect(used.get(convolution)).toBe(choice)
    expect(Object.keys(choices)).not.toEqual([])
    vi.unstubAllEnvs()
  })

  it('leaves no files behind', async () => {
    const temporary = await mkdtemp(join(folder, 'temporary-'))
    vi.stubEnv('TMPDIR', temporary) // which the command inherits
    await residual(packageRoot, ['bench', '--model', 'resnet18', '--size', '32', ...shortly])
    await residual(packageRoot, ['bench', '--op', ...shortly])
    vi.unstubAllEnvs()
    const left = await readdir(temporary)
    expect(left.filter(name => name.startsWith('residual'))).toEqual([])
  })

  it.each([
    [['--batch', '0'], /whole number above 0/],
    [['--threads', 'many'], /whole number above 0/],
    [['--seconds', '0'], /number of seconds above 0/],
    [['--seconds', 'NaN'], /number of seconds above 0/],
    [['--starts', '-1'], /whole number of 0 or more/],
    [['--precision', 'fp32,fp16'], /Expected some of fp32, bf16, int8/],
    [['--images', 'no-such-folder'], /\[FILE_NOT_FOUND\]/],
    [['--op', '--svg', 'x.svg'], /cannot be used with option '--op'/],
    [['--model', 'resnet99'], /\[MODEL_NOT_FOUND\]/],
    [['--model', 'missing.safetensors'], /\[FILE_NOT_FOUND\]/],
    [['--threads', '99999'], /threads/],
    [[...shortly, '--svg', 'no/such/folder.svg'], /\[FILE_WRITE_FAILED\]/],
  ])('says what is wrong with %j', async (args, message) => {
    const { code, stderr } = await residual(folder, ['bench', ...args])
    expect(code).toBe(1)
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^\s+at /m) // no stack traces
  })
})
