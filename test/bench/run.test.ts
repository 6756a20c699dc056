import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package-root.ts'

const bench = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', join('bench', 'run.ts'), ...args], {
    cwd: packageRoot,
  })

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-run-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('npm run bench', () => {
  it('measures the networks and engines it is told to, and writes JSON and a chart', async () => {
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

  it('names an engine that is not there', async () => {
    const python = ['--engines', 'onnxruntime,opencv', '--python', join(folder, 'no-python')]
    const { stderr } = await bench(...python).catch(error => error)
    expect(stderr).toMatch(/^opencv: not found with .*no-python \(ENOENT\)/m)
    expect(stderr).toMatch(/^error: there is no opencv here$/m)
  })
})
