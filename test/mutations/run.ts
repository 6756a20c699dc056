// The mutation test: builds a broken twin for each mutation in mutations.ts, runs test/cuda on it until something fails, and
// writes the outcome to docs/mutations.md. Arguments, which are parts of titles, select some of them; the others keep their
// lines. All of them take about 20 minutes. `--some N` tries N of them, different ones every day, assumes that the tests pass
// without a mutation, and writes nothing: for CI.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { packageRoot } from '../../lib/base/package-root.ts'
import { apply } from './apply.ts'
import { readRows, rowOf, writeRows } from './docs.ts'
import { mutations } from './mutations.ts'
import { ofToday } from './of-today.ts'
import { firstFailed } from './vitest-report.ts'

const place = join(packageRoot, 'build-mutants')
const source = join(place, 'source')
const build = join(place, 'build')
const twin = join(build, 'Release', 'residual-twin.node')
const unbrokenPlans = join(place, 'unbroken-plans')
/** Of test/cuda, what fails soonest first. */
const stages = ['session', 'event-loop', 'bundled', 'plan-cache', 'op-cases']

function run(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const options = {
    cwd: packageRoot,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 1_800_000,
  } as const
  return spawnSync(command, args, { ...options, maxBuffer: 1 << 28 })
}

/** Throws with what the compiler said. */
function compile(): void {
  const { status, stdout, stderr } = run('cmake', [
    ...['--build', build, '--target', 'residual-twin', 'standin-cuda', 'standin-cublas-lt'],
    ...['--parallel', String(availableParallelism())],
  ])
  if (status !== 0) throw new Error(`the twin does not build\n${stdout}${stderr}`)
}

/** The files, besides the cache key, that decide what cuDNN compiles and what comes from the cache. */
const decidePlans = [
  'cuda/conv_graph.cc',
  'cuda/conv_spec.h',
  'cuda/descriptor.cc',
  'cuda/engines.cc',
  'cuda/plan_builder.cc',
  'cuda/plan_cache.cc',
]

/** The title of the first test that fails, or undefined. `plans`: a folder of compiled plans to start with. */
function firstFailure(files: readonly string[], plans?: string): string | undefined {
  const cache = join(place, 'plans')
  rmSync(cache, { recursive: true, force: true }) // plans of another mutant cannot be trusted
  if (plans !== undefined && existsSync(plans)) cpSync(plans, cache, { recursive: true })
  for (const file of files) {
    const vitest = [
      join(packageRoot, 'node_modules', 'vitest', 'vitest.mjs'),
      'run',
      '--bail=1',
      '--reporter=json',
    ]
    const env = { RESIDUAL_TWIN: twin, RESIDUAL_TWIN_CACHE: cache }
    const { status, stdout, signal } = run(
      process.execPath,
      [...vitest, '--testTimeout=300000', `test/cuda/${file}.test.ts`],
      env,
    )
    if (status === 0) continue
    return firstFailed(stdout) ?? `${file}: the process ended (${signal ?? status})`
  }
  return undefined
}

function setUp(): void {
  const cmakeOptions = join(packageRoot, 'build-cuda', 'cmake-options.json')
  if (!existsSync(cmakeOptions))
    throw new Error('The CUDA backend was not built: run `npm run build:cuda` first.')
  rmSync(source, { recursive: true, force: true })
  mkdirSync(source, { recursive: true })
  for (const name of ['native', 'CMakeLists.txt', 'package.json'])
    cpSync(join(packageRoot, name), join(source, name), { recursive: true })
  if (!existsSync(join(source, 'node_modules')))
    symlinkSync(join(packageRoot, 'node_modules'), join(source, 'node_modules'))
  const cmakeJs = join(packageRoot, 'node_modules', 'cmake-js', 'bin', 'cmake-js')
  const options: string[] = JSON.parse(readFileSync(cmakeOptions, 'utf8'))
  const { status, stdout, stderr } = run(process.execPath, [
    ...[cmakeJs, 'configure', '--directory', source, '--out', build],
    ...options,
  ])
  if (status !== 0) throw new Error(`${stdout}${stderr}`)
}

const { values: options, positionals: wanted } = parseArgs({
  allowPositionals: true, // parts of titles
  options: { some: { type: 'string' } },
})
const compiledByTests = join(packageRoot, 'build-cuda', 'test-plans')
if (options.some !== undefined && !existsSync(compiledByTests)) {
  console.log(
    'residual: skipped, there is no twin to break. Build it with npm run build:cuda, and run its tests.',
  )
  process.exit(0)
}
const chosen =
  options.some === undefined
    ? mutations.filter(({ title }) => wanted.length === 0 || wanted.some(part => title.includes(part)))
    : ofToday(mutations, Number(options.some), Date.now())
setUp()
for (const mutation of chosen) apply(mutation, join(source, 'native'))() // all of them can be applied
if (options.some === undefined) {
  compile()
  const unbroken = firstFailure(stages, compiledByTests)
  if (unbroken !== undefined) throw new Error(`the tests fail without a mutation: ${unbroken}`)
}
rmSync(unbrokenPlans, { recursive: true, force: true })
cpSync(options.some === undefined ? join(place, 'plans') : compiledByTests, unbrokenPlans, {
  recursive: true,
})

const rows = readRows()
let survivors = 0
for (const mutation of chosen) {
  const begin = Date.now()
  const restore = apply(mutation, join(source, 'native'))
  let caught: string | undefined
  try {
    compile()
    // Compiling takes most of the time, and equal keys mean equal plans unless the mutation breaks that.
    const plans = decidePlans.includes(mutation.file) ? undefined : unbrokenPlans
    const ofCache = ['cuda/autotune.cc', 'cuda/plan_builder.cc', 'cuda/plan_cache.cc'].includes(mutation.file)
    caught = firstFailure(ofCache ? ['plan-cache', ...stages] : stages, plans)
  } finally {
    restore()
  }
  if (caught === undefined) survivors++
  const seconds = ((Date.now() - begin) / 1000).toFixed(0)
  console.log(
    `${caught === undefined ? 'SURVIVED' : 'caught'}  ${mutation.title} (${seconds} s)  ${caught ?? ''}`,
  )
  if (options.some !== undefined) continue
  rows.set(mutation.title, rowOf(mutation.title, caught))
  writeRows(rows) // now, so that an interrupted run was not for nothing
}
console.log(`${chosen.length - survivors} of ${chosen.length} caught`)
process.exitCode = survivors > 0 ? 1 : 0
