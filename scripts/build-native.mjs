// Builds the native addon with cmake-js. Prints the compiler's output only on failure.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const cmakeJs = join(
  dirname(createRequire(import.meta.url).resolve('cmake-js/package.json')),
  'bin',
  'cmake-js',
)
const begin = Date.now()
const { status, stdout, stderr, error } = spawnSync(
  process.execPath,
  [cmakeJs, 'build', ...process.argv.slice(2)],
  {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  },
)
if (status !== 0) {
  console.error(stdout, stderr, error ?? '')
  console.error(
    'residual: the addon could not be built. It needs CMake 3.19+, make or ninja, and GCC or Clang with C++17.',
  )
  process.exit(1)
}
console.error(`residual: addon built in ${((Date.now() - begin) / 1000).toFixed(1)} s`)
