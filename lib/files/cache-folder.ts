// The cache folder: the platform's usual place for files that can be made or fetched again, unless configured otherwise.
import { homedir, userInfo } from 'node:os'
import { isAbsolute, join, parse } from 'node:path'

/** The platform's cache folder: its own convention, or elsewhere the XDG base directory, which must be absolute. */
export function platformCache(platform: NodeJS.Platform): string {
  const { LOCALAPPDATA, XDG_CACHE_HOME } = process.env
  if (platform === 'win32') return LOCALAPPDATA || join(home(), 'AppData', 'Local')
  if (platform === 'darwin') return join(home(), 'Library', 'Caches')
  return XDG_CACHE_HOME && isAbsolute(XDG_CACHE_HOME) ? XDG_CACHE_HOME : join(home(), '.cache')
}

/** The user's home folder, even if `HOME` is empty. Without one it is the root, where nothing can be written or read. */
function home(): string {
  const told = homedir()
  if (isAbsolute(told)) return told
  try {
    return userInfo().homedir
  } catch {
    return parse(process.cwd()).root
  }
}

/** `RESIDUAL_CACHE_DIR`, or `residual` in the platform's folder; an empty variable counts as unset. It need not exist. */
export function cacheFolder(): string {
  return process.env.RESIDUAL_CACHE_DIR || join(platformCache(process.platform), 'residual')
}
