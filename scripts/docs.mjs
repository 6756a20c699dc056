// Builds the documentation site into docs/.vitepress/dist: the API reference from the docstrings of lib/, then the pages. A warning of
// TypeDoc or a dead link fails it. `--serve` shows the pages and follows changes instead.
//
// The tools have a package-lock.json of their own in docs/: TypeDoc needs the JavaScript compiler API, which TypeScript 7 no longer has.
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const docs = join(dirname(fileURLToPath(import.meta.url)), '..', 'docs')
const require = createRequire(join(docs, 'package.json'))

function run(command, args, options) {
  const { status, error } = spawnSync(command, args, { cwd: docs, stdio: 'inherit', ...options })
  if (error) throw error
  if (status !== 0) process.exit(1)
}

const installed = join(docs, 'node_modules', '.package-lock.json') // npm writes it last
const lock = join(docs, 'package-lock.json')
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
  console.error('residual: installing what builds the docs (npm ci) ...')
  const isWindows = process.platform === 'win32'
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  run(isWindows ? 'npm.cmd' : 'npm', args, { shell: isWindows })
}

const bin = (name, ...path) => join(dirname(require.resolve(`${name}/package.json`)), ...path)
run(process.execPath, [bin('typedoc', 'bin', 'typedoc')])
const vitepress = bin('vitepress', 'bin', 'vitepress.js')
run(process.execPath, [vitepress, process.argv.includes('--serve') ? 'dev' : 'build', '.'])
