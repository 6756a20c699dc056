import { execFile, execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { addonPath } from '../../lib/runtime/native.ts'
import { notBuilt, twinGpu, twinPlanCache } from '../support/twin.ts'

const addon = addonPath('cuda')
const standins = join(dirname(addon), 'standin')
const missing =
  notBuilt(addon) ??
  (existsSync('/dev/nvidiactl')
    ? 'skipped: what is missing can only be shown on a machine without a GPU'
    : undefined)
if (missing) console.log(missing)

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'residual-libraries-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs `residual` in a process of its own, as libraries stay in a process. */
function residual(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise(resolve => {
    const { CUDA_HOME: _, CUDA_PATH: __, LD_LIBRARY_PATH: ___, ...rest } = process.env
    execFile(
      process.execPath,
      [join(packageRoot, 'bin', 'residual.js'), ...args],
      { env: { ...rest, ...env } },
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    )
  })
}

/** A folder with a shared library of that name in it. */
function library(name: string, code: string): string {
  const place = mkdtempSync(join(folder, 'lib-'))
  const source = join(place, 'source.cc')
  writeFileSync(source, code)
  const out = join(place, name)
  execFileSync('g++', ['-shared', '-fPIC', `-Wl,-soname,${name}`, '-o', out, source])
  return place
}

const driver = (version: number) =>
  library(
    'libcuda.so.1',
    `extern "C" int cuDriverGetVersion(int* v) { *v = ${version}; return 0; }
extern "C" int cuInit(unsigned) { return 0; }`,
  )

const classify = ['classify', '--device', 'cuda', join(packageRoot, 'samples', 'frog.jpg')]
const compile = () => ['compile', '--gpu', 'h100', '--out', join(folder, 'plans')]

describe('a machine on which the CUDA backend was not built', () => {
  it('says so and how to build it; auto falls back to the CPU and gives the reason', async () => {
    const env = { RESIDUAL_CUDA_ADDON: join(folder, 'none.node') }
    const { code, stderr } = await residual(classify, env)
    expect(code).toBe(1)
    expect(stderr).toMatch(/none\.node does not exist.*npm run build:cuda.*\[BACKEND_UNAVAILABLE\]/)
    const info = JSON.parse((await residual(['info', '--json'], env)).stdout)
    const [cpu, cuda] = info.backends
    expect(cpu.available).toBe(true)
    expect(cuda).toMatchObject({ name: 'cuda', available: false })
    expect(cuda.details).toContain('npm run build:cuda')
  })
})

describe.skipIf(missing)('the addon', () => {
  it('links with nothing from CUDA and contains no path of the build machine', () => {
    const dynamic = execFileSync('readelf', ['--dynamic', addon], { encoding: 'utf8' })
    expect(dynamic).toContain('NEEDED')
    expect(dynamic).not.toMatch(/RPATH|RUNPATH|libcud|libnv|cublas/)
  })
})

describe.skipIf(missing)('a machine without', () => {
  it('a driver: says so, and auto falls back to the CPU', async () => {
    const { code, stderr } = await residual(classify)
    expect(code).toBe(1)
    // On one line, for that is what messages are.
    expect(stderr).toMatch(/NVIDIA driver cannot be loaded.*nvidia-smi.*Tried: libcuda\.so\.1: [^\n;]+\./)
    expect(stderr).not.toContain('\\x0a')
    expect(stderr).toContain('[BACKEND_UNAVAILABLE]')
    const auto = await residual(classify.map(arg => (arg === 'cuda' ? 'auto' : arg)))
    expect(auto.code).toBe(0)
    expect(auto.stdout).toContain('frog')
  })

  it('a driver that is new enough: names both versions', async () => {
    // cuBLASLt's stand-in, or its absence would be told first.
    const place = driver(12040)
    copyFileSync(join(standins, 'libcublasLt.so.13'), join(place, 'libcublasLt.so.13'))
    const { stderr } = await residual(classify, { LD_LIBRARY_PATH: place })
    expect(stderr).toMatch(
      /driver supports CUDA 12\.4 but the runtime .*libcudart\.so\.13 is 13\.\d+.*\[BACKEND_UNAVAILABLE\]/,
    )
  })

  it('cuBLASLt: says so, where cuDNN would end the process', async () => {
    const { stderr } = await residual(classify, { LD_LIBRARY_PATH: driver(13000) })
    expect(stderr).toMatch(/cuBLASLt, which cuDNN needs, cannot be loaded.*npm run setup:cuda/s)
  })

  it('a cuDNN that is new enough: names both versions and the file', async () => {
    const code = 'extern "C" unsigned long cudnnGetVersion() { return 91199; }'
    const root = library('libcudnn.so.9', code)
    const { code: exit, stderr } = await residual(compile(), { CUDNN_ROOT: root })
    expect(exit).toBe(1)
    expect(stderr).toContain(join(root, 'libcudnn.so.9'))
    expect(stderr).toMatch(
      /is cuDNN 9\.11\.99; residual needs 9\.12\.0 or later.*npm run setup:cuda.*\[BACKEND_UNAVAILABLE\]/,
    )
  })

  it('a cuDNN for CUDA 13: names both versions; cuDNN itself would look for an NVRTC that nobody opened', async () => {
    const code = `extern "C" unsigned long cudnnGetVersion() { return 91300; }
extern "C" unsigned long cudnnGetCudartVersion() { return 12090; }`
    const { stderr } = await residual(compile(), { CUDNN_ROOT: library('libcudnn.so.9', code) })
    expect(stderr).toMatch(
      /is cuDNN 9\.13\.0 for CUDA 12; residual needs one for CUDA 13.*setup:cuda.*\[BACKEND_UNAVAILABLE\]/,
    )
  })

  it('a complete cuDNN: names the file and what it lacks', async () => {
    const inLib = mkdtempSync(join(folder, 'root-'))
    mkdirSync(join(inLib, 'lib'))
    const code = `extern "C" unsigned long cudnnGetVersion() { return 91300; }
extern "C" unsigned long cudnnGetCudartVersion() { return 13000; }`
    const built = library('libcudnn.so.9', code)
    copyFileSync(join(built, 'libcudnn.so.9'), join(inLib, 'lib', 'libcudnn.so.9'))
    const { stderr } = await residual(compile(), { CUDNN_ROOT: inLib })
    expect(stderr).toMatch(/lib\/libcudnn\.so\.9 has no function cudnnGetErrorString/)
  })
})

describe.skipIf(missing)('residual compile', () => {
  it('names the kernel and workspace of every operation, and where the plans are', async () => {
    const { code, stdout } = await residual([
      'compile',
      '--gpu',
      twinGpu,
      '--batch',
      '1',
      '--out',
      twinPlanCache,
    ])
    expect(code).toBe(0)
    expect(stdout).toMatch(/conv1 +\d+ +\d+\.\d MiB +yes +cudnn_generated_\w+/)
    expect(stdout).toMatch(/layer2\.1\.conv2 +\d+ +\d/)
    expect(stdout).toMatch(/softmax +yes +residual's own kernel/)
    expect(stdout).toContain(twinPlanCache)
  })

  it('refuses a description that is not of a GPU', async () => {
    const wrong = join(folder, 'wrong.json')
    writeFileSync(wrong, '{"deviceVer": 900}')
    const at = (gpu: string) => ['compile', '--gpu', gpu, '--out', join(folder, 'plans')]
    expect((await residual(at(wrong))).stderr).toMatch(/not a description of a GPU.*\[GPU_INVALID\]/s)
    writeFileSync(wrong, 'no JSON')
    expect((await residual(at(wrong))).stderr).toMatch(/is not JSON.*\[GPU_INVALID\]/s)
    expect((await residual(at('h200'))).stderr).toMatch(
      /'h200' is not one of a100, b200.*\[FILE_NOT_FOUND\]/s,
    )
    const bf16 = await residual([...at('t4'), '--precision', 'bf16'])
    expect(bf16.stderr).toMatch(/bf16 needs.*8\.0.*7\.5.*\[PRECISION_UNSUPPORTED\]/)
    expect((await residual([...at('t4'), '--batch', '1,x'])).stderr).toMatch(/whole number above 0/)
  })
})
