import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { cacheFolder } from '../../lib/files/cache-folder.ts'
import { modelCache } from '../../lib/registry/cache.ts'
import { checkOptions } from '../../lib/runtime/session-options.ts'

beforeEach(() => {
  for (const name of ['RESIDUAL_CACHE', 'RESIDUAL_CACHE_DIR', 'XDG_CACHE_HOME']) vi.stubEnv(name, '')
})
afterEach(() => {
  vi.unstubAllEnvs()
})

const usual = join(homedir(), '.cache', 'residual')

it('ignores an empty variable, and an XDG folder that is not absolute', () => {
  expect(checkOptions({}).planCache).toBe(usual)
  expect(modelCache()).toBe(join(usual, 'models'))
  vi.stubEnv('XDG_CACHE_HOME', 'cache')
  expect(checkOptions({}).planCache).toBe(usual)
  vi.stubEnv('XDG_CACHE_HOME', '/xdg')
  expect(checkOptions({}).planCache).toBe(join('/xdg', 'residual'))
  vi.stubEnv('RESIDUAL_CACHE_DIR', 'here')
  expect(checkOptions({}).planCache).toBe('here')
  expect(modelCache()).toBe(join('here', 'models'))
})

it('is never in the working directory, even without a home', () => {
  for (const home of ['', 'relative']) {
    vi.stubEnv('HOME', home)
    expect(cacheFolder()).toBe(join(userInfo().homedir, '.cache', 'residual'))
  }
})
