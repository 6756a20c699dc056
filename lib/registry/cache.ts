// The cache of pulled checkpoints: one flat folder, each checkpoint next to its record.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../files/cache-folder.ts'
import { cacheName } from './source.ts'

/** What checkpoints may be called on a server; the first that is there wins. */
const extensions = ['.safetensors', '.pth', '.pt', '.bin']

/**
 * The folder of pulled checkpoints: `models` in `RESIDUAL_CACHE`, else in `RESIDUAL_CACHE_DIR`, which has compiled plans as well,
 * else in `residual` where the platform keeps such things. It need not exist.
 */
export function modelCache(): string {
  return join(process.env.RESIDUAL_CACHE || cacheFolder(), 'models')
}

/** A checkpoint that was pulled by that name, as far as its being there goes; undefined where there is none. */
export function cachedModel(name: string): { name: string; path: string } | undefined {
  if (!/^[\w.@/-]+$/.test(name)) return undefined
  const stem = join(modelCache(), cacheName(name))
  const extension = extensions.find(extension => existsSync(stem + extension))
  return extension === undefined ? undefined : { name, path: stem + extension }
}
