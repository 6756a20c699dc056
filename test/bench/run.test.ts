import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { cpuInstructionSet } from '../../lib/runtime/native.ts'

const bench = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', join('bench', 'run.ts'), ...args], {
    cwd: packageRoot,
  })

const canHide =
  cpuInstructionSet() === 'avx512' && / cpuid_fault /.test(readFileSync('/proc/cpuinfo', 'utf8'))
if (!canHide) console.log('residual: --hide-avx512 is not tested, this CPU has no AVX-512 or cannot hide it')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-run-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('npm run bench', () => {
  it('measures the given networks and engines, and writes JSON and a chart', async () => {
    const networks = ['--models', 'resnet50-cifar10,resnet18', '--size', '32', '--engines', 'onnxruntime']
    const shortly = ['--batch', '1', '--threads', '1', '--seconds', '0.01', '--starts', '0', '--out', folder]
    const { stdout } = await bench(...networks, ...shortly)
    for (const network of ['resnet50-cifar10', 'resnet18'])
      expect(stdout).toMatch(new RegExp(`^${network} +1 +1 +residual +.*\n +onnxruntime +`, 'm'))
    const { cases, versions } = JSON.parse(await readFile(join(folder, 'bench.json'), 'utf8'))
    expect(cases.map(({ network }: { network: string }) => network)).toEqual(['resnet50-cifar10', 'resnet18'])
    expect(Object.keys(versions)).toEqual(['residual', 'onnxruntime'])
    expect(await sharp(join(folder, 'bench.svg')).metadata()).toMatchObject({ format: 'svg' })
  })

  it('keeps what it measured when an engine fails, and says so', async () => {
    const python = join(folder, 'python.cjs')
    const body =
      "if (process.argv[3] === 'version') console.log('1.2'); else { console.error('no memory'); process.exit(1) }"
    await writeFile(python, `#!${process.execPath}\n${body}`)
    await chmod(python, 0o755)
    const out = join(folder, 'kept')
    const engines = ['--models', 'resnet50-cifar10', '--engines', 'onnxruntime,opencv', '--python', python]
    const shortly = ['--batch', '1,2', '--threads', '1', '--seconds', '0.01', '--starts', '0', '--out', out]
    const { code, stdout } = await bench(...engines, ...shortly).catch(error => error)
    expect(code).toBe(1)
    expect(stdout).toMatch(
      /^ {2}resnet50-cifar10, 1 thread, batch 2, opencv: opencv ended with 1: no memory$/m,
    )
    const { cases } = JSON.parse(await readFile(join(out, 'bench.json'), 'utf8'))
    for (const { results, failures } of cases) {
      expect(results.map(({ engine }: { engine: string }) => engine)).toEqual(['residual', 'onnxruntime'])
      expect(failures).toHaveLength(1)
    }
    expect(await sharp(join(out, 'bench.svg')).metadata()).toMatchObject({ format: 'svg' })
  })

  it('keeps what it measured when a later model cannot be read', async () => {
    const out = join(folder, 'partly')
    const models = ['--models', 'resnet50-cifar10,missing.pth', '--engines', 'onnxruntime', '--out', out]
    const shortly = ['--batch', '1', '--threads', '1', '--seconds', '0.01', '--starts', '0']
    const { stdout, stderr } = await bench(...models, ...shortly).catch(error => error)
    expect(stdout).toMatch(/^resnet50-cifar10 +1 +1 +residual/m)
    expect(stderr).toContain('MODEL_NOT_FOUND')
    const { cases } = JSON.parse(await readFile(join(out, 'bench.json'), 'utf8'))
    expect(cases).toHaveLength(1)
  })

  it.skipIf(!canHide)('hides AVX-512 from every engine on request', async () => {
    const out = join(folder, 'hidden')
    const networks = [
      '--models',
      'resnet50-cifar10',
      '--engines',
      'onnxruntime',
      '--hide-avx512',
      '--out',
      out,
    ]
    await bench(...networks, '--batch', '1', '--threads', '1', '--seconds', '0.01', '--starts', '1')
    const { isa, machine, cases } = JSON.parse(await readFile(join(out, 'bench.json'), 'utf8'))
    expect(isa).toBe('avx2')
    expect(machine.cpu).toMatch(/ \(AVX-512 hidden\)$/)
    expect(cases[0].results).toHaveLength(2)
  })

  it('names a missing engine', async () => {
    const python = ['--engines', 'onnxruntime,opencv', '--python', join(folder, 'no-python')]
    const { stderr } = await bench(...python).catch(error => error)
    expect(stderr).toMatch(/^opencv: not found with .*no-python \(ENOENT\)/m)
    expect(stderr).toMatch(/^error: not available here: opencv$/m)
  })
})
