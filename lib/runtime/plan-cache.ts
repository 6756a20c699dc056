// Where do compiled plans wait for the next process, unless told otherwise?
import { homedir } from 'node:os'
import { join } from 'node:path'

/** `RESIDUAL_CACHE_DIR`, or `residual` in the user's cache folder. Made when something is first written to it. */
export function defaultPlanCache(): string {
  const { RESIDUAL_CACHE_DIR, XDG_CACHE_HOME } = process.env
  return RESIDUAL_CACHE_DIR ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'residual')
}
