// Which checkpoints were pulled before, and where do they lie? In one flat folder, each beside its record.
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { cacheName } from './source.ts'

/** What checkpoints may be called on a server; the first that is there wins. */
const extensions = ['.safetensors', '.pth', '.pt', '.bin']

/**
 * The folder of pulled checkpoints: `models` in `RESIDUAL_CACHE`, else in `RESIDUAL_CACHE_DIR`, which has compiled plans as well,
 * else in `residual` where the platform keeps such things. It need not exist.
 */
export function modelCache(): string {
  const { RESIDUAL_CACHE, RESIDUAL_CACHE_DIR } = process.env
  return join(
    RESIDUAL_CACHE || RESIDUAL_CACHE_DIR || join(platformCache(process.platform), 'residual'),
    'models',
  )
}

/** Where a platform wants caches: its own conventions, and the XDG base directories elsewhere. */
export function platformCache(platform: NodeJS.Platform): string {
  const { LOCALAPPDATA, XDG_CACHE_HOME } = process.env
  if (platform === 'win32') return LOCALAPPDATA || join(homedir(), 'AppData', 'Local')
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches')
  return XDG_CACHE_HOME || join(homedir(), '.cache')
}

/** A checkpoint that was pulled by that name, as far as its being there goes; undefined where there is none. */
export function cachedModel(name: string): { name: string; path: string } | undefined {
  if (!/^[\w.@/-]+$/.test(name)) return undefined
  const stem = join(modelCache(), cacheName(name))
  const extension = extensions.find(extension => existsSync(stem + extension))
  return extension === undefined ? undefined : { name, path: stem + extension }
}
