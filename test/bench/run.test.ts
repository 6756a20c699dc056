import { execFile } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { canFault, goneWith, type Hidden, hideable, kernelsHere } from '../../bench/hide-features.ts'
import { packageRoot } from '../../lib/base/package-root.ts'

const bench = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', join('bench', 'run.ts'), ...args], {
    cwd: packageRoot,
  })

const has = (hidden: Hidden) => kernelsHere().some(isa => goneWith[hidden].includes(isa))
const hidings = hideable.filter(hidden => canFault() && has(hidden))
if (hidings.length < hideable.length)
  console.log(
    `residual: --hide is tested for what this CPU has and can hide: ${hidings.join(', ') || 'nothing'}`,
  )

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
      expect(stdout).toMatch(new RegExp(`^${network} +1 +1 +fp32 +residual +.*\n +onnxruntime +`, 'm'))
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
    expect(stdout).toMatch(/^resnet50-cifar10 +1 +1 +fp32 +residual/m)
    expect(stderr).toContain('MODEL_NOT_FOUND')
    const { cases } = JSON.parse(await readFile(join(out, 'bench.json'), 'utf8'))
    expect(cases).toHaveLength(1)
  })

  it.each(hidings)('hides from every engine on request: %s', async hidden => {
    const out = join(folder, hidden)
    const networks = ['--models', 'resnet50-cifar10', '--engines', 'onnxruntime', '--hide', hidden]
    const shortly = ['--batch', '1', '--threads', '1', '--seconds', '0.01', '--starts', '1', '--out', out]
    await bench(...networks, '--precision', 'fp32,int8', '--samples', '4', ...shortly)
    const { isa, kernels, machine, cases } = JSON.parse(await readFile(join(out, 'bench.json'), 'utf8'))
    for (const gone of goneWith[hidden]) expect([isa, ...Object.values(kernels)]).not.toContain(gone)
    expect(machine.cpu).toContain(' hidden)')
    const engines = cases.map(({ results }: { results: { engine: string }[] }) =>
      results.map(({ engine }) => engine),
    )
    expect(engines).toEqual([
      ['residual', 'onnxruntime'],
      ['residual', 'residual fp32', 'onnxruntime'],
    ])
  })

  it('refuses to hide anything else, and precisions that there are none of', async () => {
    const { stderr } = await bench('--hide', 'sse').catch(error => error)
    expect(stderr).toContain('Allowed choices are amx, avx512, vnni')
    const { stderr: other } = await bench('--precision', 'fp32,fp8').catch(error => error)
    expect(other).toContain('Expected some of fp32, bf16, int8.')
  })

  it('names a missing engine', async () => {
    const python = ['--engines', 'onnxruntime,opencv', '--python', join(folder, 'no-python')]
    const { stderr } = await bench(...python).catch(error => error)
    expect(stderr).toMatch(/^opencv: not found with .*no-python \(ENOENT\)/m)
    expect(stderr).toMatch(/^error: not available here: opencv$/m)
  })
})
