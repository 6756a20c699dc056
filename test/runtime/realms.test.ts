import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it, vi } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { ResidualError } from '../../lib/index.ts'

it('works with globals of another realm, as in Jest and Vitest’s vmThreads', async () => {
  const vitest = join(packageRoot, 'node_modules', 'vitest', 'vitest.mjs')
  const config = join(packageRoot, 'test', 'realms', 'vitest.config.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [vitest, 'run', '--config', config], {
    cwd: packageRoot,
    env: { ...process.env, NO_COLOR: '1', VITEST: undefined },
  }).catch(error => error as { stdout: string })
  expect(stdout).toMatch(/Tests +4 passed \(4\)/)
}, 120_000)

it('recognises errors of another copy of the package', async () => {
  const ours = new ResidualError('INTERNAL', 'ours')
  vi.resetModules()
  const { ResidualError: Other } = await import('../../lib/errors.ts')
  expect(Other).not.toBe(ResidualError)
  const theirs = new Other('INTERNAL', 'theirs')
  for (const error of [ours, theirs]) {
    expect(error instanceof ResidualError).toBe(true)
    expect(error instanceof Other).toBe(true)
  }
  class Mine extends ResidualError {}
  expect(new Mine('INTERNAL', 'mine') instanceof ResidualError).toBe(true)
  expect(ours instanceof Mine).toBe(false)
  for (const other of [new Error('x'), { code: 'INTERNAL', name: 'ResidualError' }, null, undefined, 'x'])
    expect((other as unknown) instanceof ResidualError).toBe(false)
})
