import { homedir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { platformCache } from '../../lib/files/cache-folder.ts'
import { parsePreprocessing } from '../../lib/image/preprocess.ts'
import { resnet } from '../../lib/index.ts'
import { cachedModel, modelCache } from '../../lib/registry/cache.ts'
import { checkpoints } from '../../lib/registry/checkpoints.ts'
import { findSource } from '../../lib/registry/source.ts'

const environment = { ...process.env }
afterEach(() => {
  process.env = { ...environment }
})

describe('the registry', () => {
  it.each(Object.entries(checkpoints))('describes %s by what can be', (name, checkpoint) => {
    const { architecture, preprocessing, sha256, from, top1, size } = checkpoint
    expect(() => resnet(architecture)).not.toThrow()
    expect(parsePreprocessing(preprocessing, name)).toEqual(preprocessing)
    expect(sha256 ?? '').toMatch('url' in from ? /^[0-9a-f]{8}$/ : /^([0-9a-f]{64})?$/)
    expect(size ?? '1 MB').toMatch(/^[\d.]+ Mi?B$/)
    expect(top1 ?? 70).toBeGreaterThan(69)
    expect(top1 ?? 70).toBeLessThan(84)
    delete process.env.HF_ENDPOINT
    const { url, fileName } = findSource(name)
    expect(url).toMatch(/^https:\/\/(huggingface\.co|download\.pytorch\.org)\/[\w./-]+$/)
    expect(fileName).toMatch(/^[\w.-]+\.(safetensors|pth)$/)
    if ('url' in from) expect(fileName).toContain(sha256) // as PyTorch names its files
  })

  it('has no duplicate checksums', () => {
    const all = Object.values(checkpoints).flatMap(({ sha256 }) => sha256 ?? [])
    expect(new Set(all).size).toBe(all.length)
  })
})

describe('the cache', () => {
  it("is in the platform's place, or in the configured one", () => {
    for (const key of ['RESIDUAL_CACHE', 'RESIDUAL_CACHE_DIR', 'XDG_CACHE_HOME', 'LOCALAPPDATA'])
      delete process.env[key]
    expect(platformCache('linux')).toBe(join(homedir(), '.cache'))
    expect(platformCache('darwin')).toBe(join(homedir(), 'Library', 'Caches'))
    expect(platformCache('win32')).toBe(join(homedir(), 'AppData', 'Local'))
    Object.assign(process.env, { XDG_CACHE_HOME: '/x', LOCALAPPDATA: 'C:\\y' })
    expect(platformCache('freebsd')).toBe('/x')
    expect(platformCache('win32')).toBe('C:\\y')
    process.env.RESIDUAL_CACHE_DIR = '/plans'
    expect(modelCache()).toBe(join('/plans', 'models'))
    process.env.RESIDUAL_CACHE = '/z'
    expect(modelCache()).toBe(join('/z', 'models'))
    expect(cachedModel('resnet50.tv_in1k')).toBeUndefined()
  })
})
