// The files that belong to the workplace rather than to the project.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package-root.ts'

export const sharedFolder = join(packageRoot, '..', 'shared')

/** Whether `../shared/{path}` is there. Where it is not, says why tests are skipped. */
export function haveShared(path: string): boolean {
  const found = existsSync(join(sharedFolder, path))
  if (!found) console.warn(`skipped: ${join(sharedFolder, path)} is not on this machine`)
  return found
}
