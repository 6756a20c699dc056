import { execFile, execFileSync, spawnSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { python } from '../support/python.ts'

const realPython = spawnSync(python, ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' })
const missing =
  process.platform !== 'linux'
    ? 'skipped: NVIDIA has wheels for Linux'
    : realPython.status !== 0
      ? `skipped: ${python} is not there`
      : undefined
if (missing) console.log(missing)

let folder: string
let bin: string
let deps: string
let log: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'residual-setup-'))
  ;[bin, deps, log] = [join(folder, 'bin'), join(folder, 'deps', 'cuda'), join(folder, 'log')]
  mkdirSync(bin)
  const fake = join(packageRoot, 'test', 'support', 'fake-python.mjs')
  program(join(bin, 'python3'), `exec '${process.execPath}' '${fake}' "$@"`)
})
afterEach(() => rmSync(folder, { recursive: true }))

function program(path: string, script: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
}

interface Outcome {
  readonly code: number | string
  readonly stderr: string
  /** The wheels that pip was asked for, with their versions. */
  readonly asked: readonly string[]
}

/** Runs scripts/setup-cuda.mjs, or another, on a machine that has nothing of CUDA's unless `env` says otherwise. */
function setUp(
  env: NodeJS.ProcessEnv = {},
  { root = packageRoot, command = ['setup-cuda.mjs'] } = {},
): Promise<Outcome> {
  rmSync(log, { force: true })
  const path = [bin, '/usr/bin', '/bin'].join(delimiter)
  const settings = {
    PATH: path,
    HOME: folder,
    RESIDUAL_CUDA_TOOLKIT: 'pip',
    RESIDUAL_CUDA_DEPS: deps,
    REAL_PYTHON: realPython.stdout.trim(),
    FAKE_PIP_LOG: log,
    ...env,
  }
  return new Promise(resolve => {
    execFile(
      process.execPath,
      [join(root, 'scripts', command[0]!), ...command.slice(1)],
      { env: settings },
      (error, _, stderr) => {
        const asked = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []
        resolve({ code: error?.code ?? error?.signal ?? 0, stderr, asked })
      },
    )
  })
}

const all = [
  'nvidia-cuda-nvcc',
  'nvidia-nvvm',
  'nvidia-cuda-crt',
  'nvidia-cuda-cccl',
  'nvidia-cuda-runtime',
  'nvidia-cudnn-cu13',
  'nvidia-cuda-nvrtc',
]
const namesOf = ({ asked }: Outcome) => asked.map(line => line.split(' ')[0])
const nvccOfDeps = () => join(deps, 'nvidia', 'cu13', 'bin', 'nvcc')
const beside = () => readdirSync(dirname(deps))

describe.skipIf(missing)('npm run setup:cuda', { timeout: 120_000 }, () => {
  it('downloads everything to a bare machine, with executable programs, and only once', async () => {
    const first = await setUp()
    expect(first.stderr).toMatch(/downloading nvidia-cuda-nvcc 13\.0\.88, .*\n.*nvcc 13\.0 .*cuDNN/s)
    expect(first.code).toBe(0)
    expect(namesOf(first)).toEqual(all)
    accessSync(nvccOfDeps(), constants.X_OK)
    accessSync(join(deps, 'nvidia', 'cu13', 'nvvm', 'bin', 'cicc'), constants.X_OK)
    expect(beside()).toEqual(['cuda'])
    const second = await setUp()
    expect(second).toMatchObject({ code: 0, asked: [] })
  })

  it.each<[what: string, damage: () => void, again: readonly string[]]>([
    ['a file that is gone', () => rmSync(nvccOfDeps()), ['nvidia-cuda-nvcc']],
    [
      'a file that was cut off',
      () => truncateSync(join(deps, 'nvidia/cu13/nvvm/bin/cicc'), 1),
      ['nvidia-nvvm'],
    ],
    ['a folder without its inventory', () => rmSync(join(deps, 'complete.json')), all],
    ['an inventory that was cut off', () => truncateSync(join(deps, 'complete.json'), 40), all],
    ['another version of a wheel', () => repin('"13.0.85"', '"13.0.50"'), ['nvidia-cuda-cccl']],
    ['other hashes of a wheel', () => repin(/(nvvm.*?sha256":\[")..../, '$1beef'), ['nvidia-nvvm']],
  ])('detects %s and fetches just what it takes', async (_, damage, again) => {
    await setUp()
    damage()
    const { code, asked } = await setUp()
    expect(code).toBe(0)
    expect(asked.map(line => line.split(' ')[0]).sort()).toEqual([...again].sort())
    accessSync(nvccOfDeps(), constants.X_OK)
    expect(await setUp()).toMatchObject({ code: 0, asked: [] })
  })

  function repin(from: string | RegExp, to: string): void {
    const inventory = join(deps, 'complete.json')
    const text = readFileSync(inventory, 'utf8')
    writeFileSync(inventory, text.replace(from, to))
    expect(readFileSync(inventory, 'utf8')).not.toBe(text)
  }

  it('does not accept what a killed process left behind, and removes it', async () => {
    expect(await setUp({ FAKE_PIP: 'killed' })).toMatchObject({ code: 'SIGKILL' })
    expect(beside().filter(name => name.endsWith('.tmp'))).toHaveLength(1)
    expect(existsSync(deps)).toBe(false)
    expect(namesOf(await setUp())).toEqual(all)
    expect(beside()).toEqual(['cuda'])
  })

  it('may run several times at once', async () => {
    const outcomes = await Promise.all([setUp(), setUp(), setUp()])
    expect(outcomes.map(({ code, stderr }) => code || stderr)).not.toContain(1)
    expect(await setUp()).toMatchObject({ code: 0, asked: [] })
    expect(beside()).toEqual(['cuda'])
  })

  it.each([
    ['absent', /has no pip: install it/],
    ['offline', /cannot reach a package index: check the network/],
    ['unknown', /has no such wheel for this machine/],
    ['altered', /not the one that scripts\/cuda\/wheels\.mjs pins/],
    ['full', /The disk that holds .*deps\/cuda is full/],
  ])('says in one line what to do if pip fails: %s', async (way, sentence) => {
    const { code, stderr } = await setUp({ FAKE_PIP: way })
    expect(code).toBe(1)
    const last = stderr.trim().split('\n').at(-1)
    expect(last).toMatch(sentence)
    expect(last).toMatch(/Or install the CUDA 13 toolkit and cuDNN yourself/)
    expect(beside()).toEqual([])
  })

  it('reports missing Python, and an invalid variable', async () => {
    const none = await setUp({ RESIDUAL_PYTHON: join(folder, 'no-python') })
    expect(none.code).toBe(1)
    expect(none.stderr).toMatch(/There is no .*no-python: install Python 3 with pip/)
    const wrong = await setUp({ RESIDUAL_CUDA_TOOLKIT: 'none' })
    expect(wrong.stderr).toMatch(/RESIDUAL_CUDA_TOOLKIT is 'none'; it must be 'auto' or 'pip'/)
  })

  it('is part of the build, which passes without it only if allowed', async () => {
    const command = ['build-cuda.mjs', '--if-possible']
    const passed = await setUp({ FAKE_PIP: 'offline' }, { command })
    expect(passed.code).toBe(0)
    expect(passed.stderr).toMatch(/the CUDA backend is not built: pip cannot reach a package index/)
    const failed = await setUp({ FAKE_PIP: 'offline', RESIDUAL_CUDA_TESTS: 'required' }, { command })
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(/pip cannot reach a package index/)
  })

  it("works with nothing but the package's files", async () => {
    const installed = join(folder, 'installed')
    mkdirSync(installed)
    const { files } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
    for (const file of ['package.json', ...files])
      if (file.startsWith('scripts'))
        cpSync(join(packageRoot, file), join(installed, file), { recursive: true })
      else symlinkSync(join(packageRoot, file), join(installed, file))
    const outcome = await setUp({}, { root: installed })
    expect(outcome.stderr).toContain('nvcc 13.0')
    expect(namesOf(outcome)).toEqual(all)
  })
})

describe.skipIf(missing)('the toolchain of this machine', { timeout: 120_000 }, () => {
  const auto = { RESIDUAL_CUDA_TOOLKIT: 'auto' }

  /** A folder with an nvcc in it of that version, which compiles as told. */
  function toolkit(version: string, compile = 'exit 0'): string {
    const root = join(folder, `toolkit-${version}`)
    program(
      join(root, 'bin', 'nvcc'),
      `case "$*" in --version) echo 'release ${version}, V${version}.1' ;;
--dryrun*) echo '#$ INCLUDES="-I${root}/include"' >&2 ;; *) ${compile} ;; esac`,
    )
    mkdirSync(join(root, 'include'))
    writeFileSync(join(root, 'include', 'cuda_runtime_api.h'), '')
    return root
  }

  /** A folder with a library and headers that say they are cuDNN of that version. */
  function cudnn(version: string, cudart: number, headers = true): string {
    const [major, minor, patch] = version.split('.').map(Number) as [number, number, number]
    const root = join(folder, `cudnn-${version}-${cudart}`)
    mkdirSync(join(root, 'lib'), { recursive: true })
    mkdirSync(join(root, 'include'))
    const source = join(folder, 'cudnn.cc')
    writeFileSync(
      source,
      `extern "C" unsigned long cudnnGetVersion() { return ${major * 10000 + minor * 100 + patch}; }
extern "C" unsigned long cudnnGetCudartVersion() { return ${cudart}; }`,
    )
    execFileSync('c++', ['-shared', '-fPIC', '-o', join(root, 'lib', 'libcudnn.so.9'), source])
    if (headers) writeFileSync(join(root, 'include', 'cudnn_graph.h'), '')
    const numbers = { MAJOR: major, MINOR: minor, PATCHLEVEL: patch }
    const lines = Object.entries(numbers).map(([part, number]) => `#define CUDNN_${part} ${number}\n`)
    writeFileSync(join(root, 'include', 'cudnn_version.h'), lines.join(''))
    return root
  }

  it('is used if nvcc and cuDNN are recent enough', async () => {
    const [nvcc, root] = [toolkit('13.2'), cudnn('9.13.1', 13000)]
    const outcome = await setUp({ ...auto, CUDA_HOME: nvcc, CUDNN_ROOT: root })
    expect(outcome.stderr).toContain(`nvcc 13.2 (${nvcc}/bin/nvcc), cuDNN 9.13.1 (${root}/include)`)
    expect(outcome.code).toBe(0)
    expect(namesOf(outcome)).not.toContain('nvidia-cuda-nvcc')
    expect(namesOf(outcome)).not.toContain('nvidia-cudnn-cu13')
  })

  it.each([
    ['12.9', undefined, /it is for CUDA 12\.9; 13 is needed/],
    ['14.0', undefined, /it is for CUDA 14\.0; 13 is needed/],
    ['13.1', 'echo "unsupported GNU version" >&2; exit 1', /it cannot compile: unsupported GNU version/],
  ])('is not used if it has an unusable nvcc %s', async (version, compile, sentence) => {
    const nvcc = toolkit(version, compile)
    const outcome = await setUp({ ...auto, CUDA_HOME: nvcc })
    expect(outcome.stderr).toContain(`${nvcc}/bin/nvcc is not used: `)
    expect(outcome.stderr).toMatch(sentence)
    expect(outcome.stderr).not.toContain(`nvcc ${version} (${nvcc}`)
    // The machine may have another, which will do.
    const chosen = /nvcc 13\.\d+ \((.*?)\)/.exec(outcome.stderr)![1]!
    expect(outcome.code).toBe(0)
    expect(namesOf(outcome).includes('nvidia-cuda-nvcc')).toBe(chosen === nvccOfDeps())
  })

  it.each([
    ['9.8.0', 13000, true, /cuDNN 9\.8\.0 \(.*\) is not used: 9\.12\.0 is needed/],
    ['9.13.0', 12090, true, /cuDNN 9\.13\.0 \(.*\) is not used: it is for CUDA 12; 13 is needed/],
    ['9.14.0', 13000, false, /cuDNN 9\.14\.0 \(.*\) is not used: its headers are missing/],
  ])('is not used if it has an unusable cuDNN %s for CUDA %i', async (version, cudart, headers, sentence) => {
    const outcome = await setUp({ ...auto, CUDNN_ROOT: cudnn(version, cudart, headers) })
    expect(outcome.stderr).toMatch(sentence)
    expect(namesOf(outcome)).toContain('nvidia-cudnn-cu13')
    expect(outcome.stderr).toMatch(/cuDNN [\d.]+ \(.*deps\/cuda\/nvidia\/cudnn\/include\)/)
  })

  it('is not used for what was downloaded before: that is kept as pinned', async () => {
    await setUp()
    truncateSync(join(deps, 'nvidia/cudnn/lib/libcudnn.so.9'), 1)
    const outcome = await setUp({ ...auto, CUDA_HOME: toolkit('13.2'), CUDNN_ROOT: cudnn('9.13.1', 13000) })
    expect(namesOf(outcome)).toEqual(['nvidia-cudnn-cu13'])
    expect(outcome.stderr).toContain(`(${nvccOfDeps()})`)
  })
})

describe('the pinned versions', () => {
  it('have a hash for each architecture, and docs/plans.md is for the pinned cuDNN', async () => {
    const text = readFileSync(join(packageRoot, 'scripts', 'cuda', 'wheels.mjs'), 'utf8')
    const versions = [...text.matchAll(/version: '([\d.]+)'/g)].map(match => match[1])
    expect(versions).toHaveLength(11)
    expect(new Set(text.match(/'[0-9a-f]{64}'/g)).size).toBe(22)
    const { cudnn, cudnnVersions } = await import(join(packageRoot, 'scripts', 'cuda', 'wheels.mjs'))
    const [major, minor, patch] = cudnn.version.split('.').map(Number) as [number, number, number]
    const plans = readFileSync(join(packageRoot, 'docs', 'plans.md'), 'utf8')
    expect(plans).toContain(`cuDNN ${major * 10000 + minor * 100 + patch},`)
    expect(cudnnVersions).toContain(cudnn)
  })
})
