// The cache of pulled checkpoints: one flat folder, each checkpoint next to its record.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../files/cache-folder.ts'
import { cacheName } from './source.ts'

/** Extensions of checkpoints; the first that exists wins. */
const extensions = ['.safetensors', '.pth', '.pt', '.bin']

/**
 * The folder of pulled checkpoints: `models` in `RESIDUAL_CACHE`, else in `RESIDUAL_CACHE_DIR`, which also holds compiled
 * plans, else in `residual` in the platform's cache folder. It need not exist.
 */
export function modelCache(): string {
  return join(process.env.RESIDUAL_CACHE || cacheFolder(), 'models')
}

/** The checkpoint pulled under that name, judged by its existence alone; undefined if there is none. */
export function cachedModel(name: string): { name: string; path: string } | undefined {
  if (!/^[\w.@/-]+$/.test(name)) return undefined
  const stem = join(modelCache(), cacheName(name))
  const extension = extensions.find(extension => existsSync(stem + extension))
  return extension === undefined ? undefined : { name, path: stem + extension }
}
