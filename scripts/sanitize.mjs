// Builds the addon with sanitizers and runs the tests that drive it under them: AddressSanitizer and UndefinedBehaviorSanitizer, or with
// the argument `thread` ThreadSanitizer.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { arch, tmpdir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')

if (process.platform !== 'linux') {
  console.log('residual: skipped, the sanitizers are preloaded the way Linux does it')
  process.exit(0)
}

const [mode = 'memory', ...rest] = process.argv.slice(2)
if (!['memory', 'thread'].includes(mode) || rest.length > 0) {
  console.error("residual: expected 'memory', 'thread' or nothing")
  process.exit(2)
}

const runtime = names => names.map(name => `test/runtime/${name}.test.ts`)

/** By mode: what is built, what is preloaded, and the CPU backend's tests. */
const { sanitizers, library, output, tests } = {
  memory: {
    sanitizers: 'address,undefined',
    library: 'libasan.so',
    output: join(root, 'build-sanitize'),
    tests: [
      ...runtime([
        'op-cases',
        'reduced-op-cases',
        'session',
        'addon',
        'addon-arguments',
        'special-numbers',
        'integer-winograd',
        'extreme-numbers',
      ]),
      ...runtime(['cpu-autotune', 'load-weights']),
      ...['plans', 'networks'].map(name => `test/fuzz/${name}.test.ts`),
      'test/image',
    ],
  },
  thread: {
    sanitizers: 'thread',
    library: 'libtsan.so',
    output: join(root, 'build-sanitize-thread'),
    tests: runtime(['session', 'addon', 'custom-network', 'cpu-autotune', 'load-weights', 'teardown']),
  },
}[mode]

const compiler = process.env.CXX ?? 'g++'
// Node itself is not instrumented, so the runtime must be there before it.
const preloaded = execFileSync(compiler, [`-print-file-name=${library}`], { encoding: 'utf8' }).trim()
const reports = mkdtempSync(join(tmpdir(), 'residual-sanitize-'))

try {
  build(output, ['--CDRESIDUAL_EMULATED_KERNELS=ON'])
  test(tests, { RESIDUAL_ADDON_DIR: join(output, 'Release') })
  await testCuda()
  if (mode === 'thread') checkReports()
} finally {
  rmSync(reports, { recursive: true })
}

function run(file, args, env = {}) {
  execFileSync(file, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
}

function build(folder, options = []) {
  const script = join(root, 'scripts', 'build-native.mjs')
  run(process.execPath, [script, '--out', folder, `--CDRESIDUAL_SANITIZE=${sanitizers}`, ...options])
}

function test(files, env) {
  // ThreadSanitizer takes fixed ranges of addresses, which newer kernels may give to something else at random.
  run(
    'setarch',
    [
      arch() === 'arm64' ? 'aarch64' : 'x86_64',
      '-R',
      process.execPath,
      vitest,
      'run',
      '--testTimeout=600000',
      ...files,
    ],
    {
      LD_PRELOAD: preloaded,
      // V8 leaks on exit by design, so leaks are not looked for here: test/runtime/memory.test.ts does that.
      ASAN_OPTIONS: 'detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1',
      UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
      TSAN_OPTIONS: `exitcode=0:log_path=${join(reports, 'report')}`,
      ...env,
    },
  )
}

/** The CUDA backend's own code, on its twin. (ASan answers dlopen itself and with that loses cuDNN's own search path.) */
async function testCuda() {
  const built = join(root, 'build-cuda')
  const cmakeOptions = join(built, 'cmake-options.json')
  if (!existsSync(join(built, 'Release', 'residual-twin.node')) || !existsSync(cmakeOptions)) {
    console.log('residual: the CUDA backend is skipped, it was not built')
    if (process.env.RESIDUAL_CUDA_TESTS === 'required') process.exitCode = 1
    return
  }
  const folder = `${output}-cuda`
  build(folder, [...JSON.parse(readFileSync(cmakeOptions, 'utf8')), '--target', 'residual-twin'])
  const { compileLibraries } = await import('../dist/runtime/cuda/libraries.js')
  const { cudnn, nvrtc } = compileLibraries(join(built, 'Release'))
  const folders = [...cudnn, ...nvrtc].filter(isAbsolute).map(path => dirname(path))
  test(['test/cuda/session.test.ts'], {
    RESIDUAL_TWIN: join(folder, 'Release', 'residual-twin.node'),
    RESIDUAL_ADDON_DIR: join(output, 'Release'),
    LD_LIBRARY_PATH: [...folders, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':'),
  })
}

/**
 * Node, V8, cuDNN and other packages' addons are not instrumented, so only half of what they do is seen: their races are theirs, or none. A
 * report counts if one of the two accesses is made by the addon.
 */
function checkReports() {
  const ours = readdirSync(reports)
    .flatMap(name => readFileSync(join(reports, name), 'utf8').split('=================='))
    .filter(text => text.includes('WARNING: ThreadSanitizer') && accessesOf(text).some(isOurs))
  if (ours.length > 0) {
    console.error(ours.slice(0, 5).join('\n'))
    console.error(`residual: the addon makes an access in ${ours.length} reports of ThreadSanitizer`)
    process.exitCode = 1
  } else console.log('residual: the addon makes no access in any report of ThreadSanitizer')
}

/** The stacks of a report that are accesses: not those of threads' creation and of allocations. */
function accessesOf(report) {
  return report
    .split('\n\n')
    .filter(stack => /^ *(Previous )?(atomic )?(read|write) of size|^WARNING/im.test(stack))
}

/** Whether the innermost frame that is not the sanitizer's own is the addon's. */
function isOurs(stack) {
  const frames = stack.split('\n').filter(line => /^ +#\d+ /.test(line) && !line.includes('libtsan'))
  return frames[0]?.includes('residual-') ?? false
}
