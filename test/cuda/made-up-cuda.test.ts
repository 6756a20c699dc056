// What residual-cuda.node asks of the CUDA runtime and of cuDNN, shown by libraries that tell of it: the twin has neither.
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { temporaryFolder } from '../support/files.ts'
import { tinyPlan } from '../support/tiny.ts'
import { notBuilt } from '../support/twin.ts'

const addon = join(packageRoot, 'build-cuda', 'Release', 'residual-cuda.node')
const missing = notBuilt(addon)

/** Where the build found CUDA's headers and cuDNN's. */
function includes(): string[] {
  const options: string[] = JSON.parse(
    readFileSync(join(packageRoot, 'build-cuda', 'cmake-options.json'), 'utf8'),
  )
  return options.flatMap(option => /^--CD(?:CUDA|CUDNN)_INCLUDE_DIR=(.*)$/.exec(option)?.[1] ?? [])
}

const folder = temporaryFolder()
const library = join(folder, 'libtelling.so')
beforeAll(() => {
  if (missing) return
  const source = join(packageRoot, 'test', 'support', 'telling_cuda.c')
  const flags = includes().map(path => `-I${path}`)
  execFileSync(process.env.CC ?? 'gcc', ['-shared', '-fPIC', ...flags, '-o', library, source])
})

/** The lines that a script prints, and the libraries while it runs, in a process of its own. `body` has `addon`, `libraries` and `plan`. */
async function lines(body: string): Promise<string[]> {
  const script = `
    const addon = require(${JSON.stringify(addon)})
    const libraries = { cudart: [${JSON.stringify(library)}], cudnn: [${JSON.stringify(library)}] }
    const plan = ${JSON.stringify(tinyPlan)}
    const loadWeights = async session => {
      for (const [op, { kind, kernel = 1, src, dst, groups = 1 }] of plan.ops.entries()) {
        if (kind !== 'conv' && kind !== 'linear') continue
        const [inputs, outputs] = [plan.values[src].channels / groups, plan.values[dst].channels]
        const stored = new Uint8Array(4 * outputs * kernel * kernel * inputs)
        await session.loadWeights(op, stored, 'KCRS', 'F32', new Float64Array(outputs), new Float32Array(outputs))
      }
    }
    const main = async () => {${body}}
    main()
  `
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script])
  return stdout.trim().split('\n')
}

/** All of a session of two batch sizes: opened, loaded, run. */
const session = (options: string) => `
  await addon.openDevices(libraries)
  const session = await addon.NativeSession.open(plan, { batchSizes: [1, 2], ${options} })
  await loadWeights(session)
  for (const images of [1, 2, 2, 3]) await session.run(new Uint8Array(images * 192), ['logits'])
  console.log('end')
`
const ways = ['cudaGraph: true', 'cudaGraph: false', 'cudaGraph: false, autotune: true']
const calls = async (options: string) => {
  const all = await lines(session(options))
  return all.slice(0, all.indexOf('end'))
}

describe.skipIf(missing)('on CUDA', () => {
  it.each(ways)('nothing is called on the event loop (%s)', async options => {
    const all = await calls(options)
    for (const name of ['cudaGetDeviceCount', 'cudaSetDevice', 'cudnnCreate', 'cudaStreamCreateWithFlags 1'])
      expect(all).toContain(`other ${name}`)
    expect(all.filter(line => line.startsWith('main '))).toEqual([])
  })

  it.each(ways)(
    'a session has one handle of cuDNN, bound to the stream that a plan is queued on (%s)',
    async options => {
      const all = await calls(options)
      expect(all.filter(line => line.includes('cudnnCreate'))).toHaveLength(1)
      const streams = (name: string) =>
        new Set(all.filter(line => line.includes(name)).map(line => line.split(' ').at(-1)))
      // Kernels and plans of an executable are on one stream, and there are two executables; autotuning has its own.
      expect(streams('cudaLaunchKernel').size).toBe(2)
      expect(streams('cudnnBackendExecute').size).toBe(options.includes('autotune') ? 3 : 2)
      for (const stream of streams('cudaLaunchKernel'))
        expect(streams('cudnnBackendExecute')).toContain(stream)
    },
  )

  it.each(ways)('whoever waits sleeps, and no event has a clock that nobody reads (%s)', async options => {
    const [blockingSync, disableTiming] = [1, 2]
    const all = await calls(options)
    const flags = all.flatMap(line => /cudaEventCreate(.*)$/.exec(line)?.[1] ?? [])
    const sleeping = `WithFlags ${blockingSync | disableTiming}`
    const timed = flags.filter(text => text !== sleeping)
    expect(flags.length - timed.length).toBeGreaterThanOrEqual(12)
    if (options.includes('autotune')) {
      expect(timed.length).toBeGreaterThan(0)
      for (const text of timed) expect(text).toBe(`WithFlags ${blockingSync}`)
    } else expect(timed).toEqual([])
    expect(all).toContain('other cudaEventSynchronize')
    expect(all.join()).not.toMatch(/StreamSynchronize/)
  })

  it('the handle goes with the session', async () => {
    const all = await lines(`${session('cudaGraph: true')}
      session.dispose()`)
    expect(all.filter(line => line.includes('cudnnDestroy'))).toHaveLength(1)
  })
})

/**
 * Codes of errors that end a process' CUDA though driver_types.h does not say so: what was computed after memory or a link has failed
 * is not to be believed, and a context that is gone, or that the driver or MPS does not give, is not made again by this process.
 */
const alsoFinal = {
  cudaErrorDevicesUnavailable: 46,
  cudaErrorECCUncorrectable: 214,
  cudaErrorNvlinkUncorrectable: 220,
  cudaErrorContextIsDestroyed: 709,
  cudaErrorMpsConnectionFailed: 805,
  cudaErrorUnknown: 999,
}

describe.skipIf(missing)('errors of CUDA', () => {
  /** By name, with what driver_types.h says of each. */
  function documented(): Map<string, { code: number; text: string }> {
    const path = includes()
      .map(include => join(include, 'driver_types.h'))
      .find(existsSync)!
    const header = readFileSync(path, 'utf8')
    const body = /enum __device_builtin__ cudaError\s*\{(.*?)\n\};/s.exec(header)![1]!
    const entries = body.matchAll(/\/\*\*((?:(?!\*\/).)*)\*\/\s*(cuda\w+)\s*=\s*(\d+)/gs)
    return new Map(
      [...entries].map(([, text, name, code]) => [
        name!,
        { code: Number(code), text: text!.replace(/[\s*]+/g, ' ') },
      ]),
    )
  }

  it('end all sessions where CUDA says that the process must be relaunched, and no others do', async () => {
    const errors = documented()
    expect(errors.size).toBeGreaterThan(100)
    for (const [name, code] of Object.entries(alsoFinal)) expect(errors.get(name)?.code, name).toBe(code)
    const codes = [...errors.values()].map(({ code }) => code).filter(code => code !== 0)
    const answers = await lines(`
      await addon.openDevices(libraries)
      for (const code of ${JSON.stringify(codes)}) {
        process.env.FAKE_CUDA_ERROR = String(code)
        await addon.NativeSession.open(plan, {}).catch(error => console.log('answer', code, error.code))
      }`)
    const lost = answers.flatMap(line => /^answer (\d+) DEVICE_LOST$/.exec(line)?.[1] ?? []).map(Number)
    expect(answers.filter(line => line.startsWith('answer'))).toHaveLength(codes.length)
    const relaunched = [...errors].filter(([, { text }]) => /must be terminated and relaunched/.test(text))
    expect(relaunched.map(([name]) => name)).toContain('cudaErrorIllegalAddress')
    const expected = [...relaunched.map(([, { code }]) => code), ...Object.values(alsoFinal)]
    expect(lost).toEqual(expected.sort((a, b) => a - b))
  })
})
