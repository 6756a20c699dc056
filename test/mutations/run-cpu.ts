// The mutation test of what computes in bf16 and int8 on the CPU: makes a copy of the project, breaks it in one way of
// cpu-mutations.ts after the other, builds the addon, runs the tests that should notice until one fails, and writes the outcome
// to docs/mutations.md. Arguments, which are parts of titles, select some of them. All of them take about half an hour; --dry-run
// only applies them to the copy, for CI.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { packageRoot } from '../../lib/base/package-root.ts'
import { apply } from './apply.ts'
import { cpuMutations } from './cpu-mutations.ts'
import { readRows, rowOf, writeRows } from './docs.ts'
import { firstFailed } from './vitest-report.ts'

const copy = join(packageRoot, 'build-mutants', 'cpu')
const copied = ['lib', 'native', 'test', 'models', 'samples', 'bench', 'bin', 'scripts', 'docs']
const files = ['package.json', 'CMakeLists.txt', 'vitest.config.ts', 'tsconfig.json']

function run(...args: string[]) {
  return spawnSync(process.execPath, args, {
    cwd: copy,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: 1_800_000,
  })
}

/** Throws with what the compiler said. */
function build(): void {
  const { status, stderr } = run(join('scripts', 'build-native.mjs'))
  if (status !== 0) throw new Error(`the addon does not build\n${stderr}`)
}

/** The title of the first test that fails, or undefined. */
function firstFailure(tests: readonly string[]): string | undefined {
  const vitest = join('node_modules', 'vitest', 'vitest.mjs')
  for (const file of tests) {
    const { status, stdout, signal } = run(vitest, 'run', '--bail=1', '--reporter=json', file)
    if (status !== 0) return firstFailed(stdout) ?? `${file}: the process ended (${signal ?? status})`
  }
  return undefined
}

const { values: options, positionals: wanted } = parseArgs({
  allowPositionals: true, // parts of titles
  options: { 'dry-run': { type: 'boolean' } },
})
const chosen = cpuMutations.filter(
  ({ title }) => wanted.length === 0 || wanted.some(part => title.includes(part)),
)
mkdirSync(copy, { recursive: true })
for (const name of [...copied, ...files])
  cpSync(join(packageRoot, name), join(copy, name), { recursive: true, preserveTimestamps: true })
const modules = join(copy, 'node_modules')
if (!existsSync(modules)) symlinkSync(join(packageRoot, 'node_modules'), modules)
for (const mutation of chosen) apply(mutation, copy)() // all of them can be applied
if (options['dry-run']) {
  console.log(`${chosen.length} mutations can be applied`)
  process.exit(0)
}
build()
const unbroken = firstFailure([...new Set(chosen.flatMap(({ tests }) => tests))])
if (unbroken !== undefined) throw new Error(`the tests fail without a mutation: ${unbroken}`)

const rows = readRows()
let survivors = 0
for (const mutation of chosen) {
  const restore = apply(mutation, copy)
  let caught: string | undefined
  try {
    build()
    caught = firstFailure(mutation.tests)
  } finally {
    restore()
  }
  if (caught === undefined) survivors++
  console.log(`${caught === undefined ? 'SURVIVED' : 'caught'}  ${mutation.title}  ${caught ?? ''}`)
  rows.set(mutation.title, rowOf(mutation.title, caught))
  writeRows(rows) // now, so that an interrupted run was not for nothing
}
console.log(`${chosen.length - survivors} of ${chosen.length} caught`)
process.exitCode = survivors > 0 ? 1 : 0
