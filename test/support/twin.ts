// The CUDA backend's twin, which runs the backend's own code without a GPU: where it is, and what tests need to use it.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, vi } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import type { SessionOptions } from '../../lib/index.ts'
import { loadCuda } from '../../lib/runtime/native.ts'

/** `npm run test:mutations` substitutes a broken one through `RESIDUAL_TWIN`. */
export const twin =
  process.env.RESIDUAL_TWIN ?? join(packageRoot, 'build-cuda', 'Release', 'residual-twin.node')

/**
 * Why tests of `file`, a binary of the CUDA backend, cannot run here; undefined if they can. Says so, but where
 * `RESIDUAL_CUDA_TESTS` is `required`, as in CI, throws.
 */
export function notBuilt(file: string): string | undefined {
  if (existsSync(file)) return undefined
  const reason = `skipped: ${file} has not been built (npm run build:cuda)`
  if (process.env.RESIDUAL_CUDA_TESTS === 'required') throw new Error(reason)
  console.log(reason)
  return reason
}

/** Why tests on the twin cannot run here; undefined if they can. */
export const noTwin: string | undefined = notBuilt(twin)

/** The version of cuDNN, such as '9.12.0', that `npm run test:cudnn-versions` expects; its folder is `CUDNN_ROOT`. */
export const expectedCudnn: string | undefined = process.env.RESIDUAL_EXPECT_CUDNN

/** Paths of the cuDNN libraries that this process has opened. */
export function openedCudnn(): string[] {
  const paths = readFileSync('/proc/self/maps', 'utf8').match(/\/.*\/libcudnn[^/\n]*$/gm) ?? []
  return [...new Set(paths)]
}

// cuDNN opens its parts by name when it first needs them: they could belong to another version.
if (expectedCudnn !== undefined)
  afterAll(() => {
    const root = `${process.env.CUDNN_ROOT}/`
    expect(openedCudnn().filter(path => !path.startsWith(root))).toEqual([])
  })

/** Compiled plans, shared by all tests and runs: compiling is most of their time. */
export const twinPlanCache = process.env.RESIDUAL_TWIN_CACHE ?? join(packageRoot, 'build-cuda', 'test-plans')

/** What the twin is, unless a test wants another: of the five, the one for which cuDNN compiles fastest. */
export const twinGpu = 'a100'

/** Lets `device: 'cuda'` be the twin, until `vi.unstubAllEnvs`. */
export function useTwin({ gpu = twinGpu, seed = 1, faults = '', log = '', hold = '' } = {}): SessionOptions {
  vi.stubEnv('RESIDUAL_CUDA_ADDON', twin)
  vi.stubEnv('RESIDUAL_TWIN_GPU', join(packageRoot, 'gpus', `${gpu}.json`))
  vi.stubEnv('RESIDUAL_TWIN_SEED', String(seed))
  vi.stubEnv('RESIDUAL_TWIN_FAULTS', faults)
  vi.stubEnv('RESIDUAL_TWIN_LOG', log)
  vi.stubEnv('RESIDUAL_TWIN_HOLD', hold)
  return { device: 'cuda', planCache: twinPlanCache }
}

/** After `useTwin`: until nothing of the device is in use any more. Fails if that does not come about. */
export const memoryReturned = () =>
  vi.waitFor(() => expect(loadCuda().capabilities()[0]).toContain(', 0 bytes in use'))

/** Largest error of a whole network relative to the norm of the result, by precision: what `test:gpu` demands as well. */
export const tolerances = { fp32: 1e-4, tf32: 2e-3, fp16: 5e-3, bf16: 4e-2 } as const
