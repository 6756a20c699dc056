// Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer and runs the tests that drive it under them.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const output = join(root, 'build-sanitize')
const run = (file, args, env = {}) =>
  execFileSync(file, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })

if (process.platform !== 'linux') {
  console.log('residual: skipped, the sanitizers are preloaded in a way that only Linux supports')
  process.exit(0)
}

const buildNative = join(root, 'scripts', 'build-native.mjs')
const options = ['--CDRESIDUAL_SANITIZE=ON']
run(process.execPath, [buildNative, '--out', output, ...options])

// Node itself is not instrumented, so the runtime must be loaded before it.
const compiler = process.env.CXX ?? 'g++'
const libasan = execFileSync(compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim()
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
const sanitizers = {
  LD_PRELOAD: libasan,
  // V8 leaks on exit by design, so leaks are not checked here: test/runtime/memory.test.ts does that.
  ASAN_OPTIONS: 'detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
}
const tests = [
  'op-cases',
  'session',
  'addon',
  'addon-arguments',
  'special-numbers',
  'cpu-autotune',
  'load-weights',
].map(name => `test/runtime/${name}.test.ts`)
const fuzzers = ['plans', 'networks'].map(name => `test/fuzz/${name}.test.ts`)
run(process.execPath, [vitest, 'run', ...tests, ...fuzzers, 'test/image'], {
  ...sanitizers,
  RESIDUAL_ADDON_DIR: join(output, 'Release'),
})

// The CUDA backend's own code, on its twin. (ASan answers dlopen itself and with that loses cuDNN's own search path.)
const buildCuda = join(root, 'build-cuda')
const cmakeOptions = join(buildCuda, 'cmake-options.json')
if (!existsSync(join(buildCuda, 'Release', 'residual-twin.node')) || !existsSync(cmakeOptions)) {
  console.log('residual: skipped the CUDA backend, which has not been built')
  process.exit(process.env.RESIDUAL_CUDA_TESTS === 'required' ? 1 : 0)
}
const twin = `${output}-cuda`
const cuda = [...JSON.parse(readFileSync(cmakeOptions, 'utf8')), '--target', 'residual-twin']
run(process.execPath, [buildNative, '--out', twin, ...options, ...cuda])
const { compileLibraries } = await import('../dist/runtime/cuda/libraries.js')
const { cudnn, nvrtc } = compileLibraries(join(buildCuda, 'Release'))
const folders = [...cudnn, ...nvrtc].filter(isAbsolute).map(path => dirname(path))
run(process.execPath, [vitest, 'run', 'test/cuda/session.test.ts'], {
  ...sanitizers,
  RESIDUAL_TWIN: join(twin, 'Release', 'residual-twin.node'),
  LD_LIBRARY_PATH: [...folders, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':'),
})
