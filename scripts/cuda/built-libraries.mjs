// Loads the built lib/runtime/cuda/libraries.ts, which knows where to look for libraries. In a clone it is built first if
// necessary.
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const source = join(root, 'lib', 'runtime', 'cuda', 'libraries.ts')
const built = join(root, 'dist', 'runtime', 'cuda', 'libraries.js')

/** @returns {Promise<typeof import('../../lib/runtime/cuda/libraries.ts')>} */
export async function builtLibraries() {
  const isCurrent =
    !existsSync(source) || statSync(built, { throwIfNoEntry: false })?.mtimeMs > statSync(source).mtimeMs
  for (const script of isCurrent ? [] : ['setup.mjs', 'build-ts.mjs']) {
    const { status } = spawnSync(process.execPath, [join(root, 'scripts', script)], {
      stdio: ['ignore', 2, 2],
    })
    if (status !== 0) throw new Error(`scripts/${script} failed.`)
  }
  return import(built)
}
