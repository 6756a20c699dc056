// Formats the C and C++ sources (--write), or fails on the first unformatted one (--check).
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const clangFormat = createRequire(import.meta.url).resolve('clang-format')
const sources = ['native', 'bench'].flatMap(folder =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(file => /\.(c|cc|h|cu)$/.test(file))
    .map(file => join(root, folder, file)),
)
const mode = process.argv[2] === '--write' ? ['-i'] : ['--dry-run', '--Werror']
process.exitCode =
  spawnSync(process.execPath, [clangFormat, ...mode, ...sources], { stdio: 'inherit' }).status ?? 1
