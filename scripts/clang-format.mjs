// Formats the C++ sources (--write) or fails on the first one that is not formatted (--check).
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const clangFormat = createRequire(import.meta.url).resolve('clang-format')
const sources = readdirSync(join(root, 'native'), { recursive: true, encoding: 'utf8' })
  .filter(file => /\.(cc|h|cu)$/.test(file))
  .map(file => join(root, 'native', file))
const mode = process.argv[2] === '--write' ? ['-i'] : ['--dry-run', '--Werror']
process.exitCode =
  spawnSync(process.execPath, [clangFormat, ...mode, ...sources], { stdio: 'inherit' }).status ?? 1
