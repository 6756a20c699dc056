import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { compilePlan, readGpu } from '../../lib/index.ts'
import { findCudnnHeaders, isNewEnough, minCudnn } from '../../lib/runtime/cuda/libraries.ts'
import { tinyPlan } from '../support/tiny.ts'
import { expectedCudnn, noTwin, notBuilt, openedCudnn, twinGpu, useTwin } from '../support/twin.ts'

afterEach(() => vi.unstubAllEnvs())

describe.skipIf(noTwin)('the cuDNN in use', () => {
  it('comes from one folder in all its parts, in the requested version', async () => {
    useTwin()
    const options = { gpu: readGpu(twinGpu), precision: 'fp32', batch: 2, out: null } as const
    const reports = await compilePlan(tinyPlan, options)
    const plans = reports.flatMap(({ json }) => (json === null ? [] : [JSON.parse(json)]))
    const versions = new Set(
      plans.map(({ cudnnVersion: n }) => `${(n / 1e4) | 0}.${((n / 100) | 0) % 100}.${n % 100}`),
    )
    expect(versions.size).toBe(1)
    const [version] = [...versions] as [string]
    expect(isNewEnough(version, minCudnn)).toBe(true)
    const folders = new Set(openedCudnn().map(path => dirname(path)))
    expect(openedCudnn().length).toBeGreaterThan(1)
    expect(folders.size).toBe(1)
    if (expectedCudnn !== undefined) {
      expect(version).toBe(expectedCudnn)
      expect(folders).toEqual(new Set([join(process.env.CUDNN_ROOT!, 'lib')]))
      expect(findCudnnHeaders()[0]).toMatchObject({ version: expectedCudnn })
    }
  })
})

describe('a test of a binary that was not built', () => {
  it('is skipped with its reason, and fails where the tests are required', () => {
    vi.stubEnv('RESIDUAL_CUDA_TESTS', undefined)
    expect(notBuilt('/none.node')).toBe('skipped: /none.node has not been built (npm run build:cuda)')
    vi.stubEnv('RESIDUAL_CUDA_TESTS', 'required')
    expect(() => notBuilt('/none.node')).toThrow('/none.node has not been built')
  })
})

describe('the oldest supported cuDNN', () => {
  it('is the same in C++, TypeScript and the messages', () => {
    const read = (file: string) => readFileSync(join(packageRoot, file), 'utf8')
    const [major, minor, patch] = minCudnn.split('.').map(Number) as [number, number, number]
    const number = /kMinCudnnVersion = (\d+)/.exec(read('native/cuda/cudnn.h'))![1]
    expect(Number(number)).toBe(major * 10000 + minor * 100 + patch)
    for (const file of ['native/cuda/cudnn.cc', 'docs/cuda.md'])
      expect(
        new Set(read(file).match(/\b\d+\.\d+(?= or later, for CUDA| or later for CUDA)/g)),
        file,
      ).toEqual(new Set([`${major}.${minor}`]))
  })

  it.each([
    ['9.12.0', true],
    ['9.12.1', true],
    ['10.0.0', true],
    ['9.9.9', false],
    ['9.11.99', false],
    ['8.20.0', false],
    ['9.12.0.46', true],
  ])('takes %s: %s', (version, does) => {
    expect(isNewEnough(version, '9.12.0')).toBe(does)
  })
})
