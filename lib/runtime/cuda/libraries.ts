// Search paths for the CUDA and cuDNN libraries. The addon does not link them, so that it loads on machines without them.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { packageRoot } from '../../base/package-root.ts'

/** Shared libraries to open, each with the paths and names to try, best first. */
export type LibraryCandidates = { readonly [library: string]: readonly string[] }

const sonames = {
  driver: 'libcuda.so.1',
  cublasLt: 'libcublasLt.so.13',
  nvrtc: 'libnvrtc.so.13',
  cudart: 'libcudart.so.13',
  cudnn: 'libcudnn.so.9',
} as const
type Library = keyof typeof sonames

/** Where `npm run setup:cuda` puts its downloads; `RESIDUAL_CUDA_DEPS` sets another folder, which clones can share. */
export const depsFolder: string = resolve(
  process.env.RESIDUAL_CUDA_DEPS ?? join(packageRoot, '.deps', 'cuda'),
)

/** The oldest supported cuDNN: the first one for CUDA 13. Must equal `kMinCudnnVersion` in C++. */
export const minCudnn = '9.12.0'

/** Folders of installed Python packages, found without running Python: `VIRTUAL_ENV`, conda, the user's, the system's. */
export function pythonFolders(): string[] {
  const prefixes = [
    process.env.VIRTUAL_ENV,
    process.env.CONDA_PREFIX,
    join(homedir(), '.local'),
    '/usr/local',
    '/usr',
  ]
  return prefixes
    .filter(prefix => prefix !== undefined)
    .flatMap(prefix => {
      const lib = join(prefix, 'lib')
      const pythons = existsSync(lib) ? readdirSync(lib).filter(name => /^python3(\.\d+)?$/.test(name)) : []
      return pythons.flatMap(python => [
        join(lib, python, 'site-packages'),
        join(lib, python, 'dist-packages'),
      ])
    })
}

/** Folders laid out as NVIDIA's wheels unpack: `nvidia/cudnn/{include,lib}` and `nvidia/cu13/{include,lib}`. */
type WheelPart = 'cudnn' | 'cu13'
const partOf = (folders: readonly string[], part: WheelPart): string[] =>
  folders.map(folder => join(folder, 'nvidia', part))

const within = (folders: readonly (string | undefined)[], ...names: readonly string[]): string[] =>
  folders.filter(folder => folder !== undefined).flatMap(folder => names.map(name => join(folder, name)))

/** A folder with `cudnn_graph.h`, and its version: '9.12.0'. */
export interface CudnnHeaders {
  readonly folder: string
  readonly version: string
}

/** Headers of cuDNN in `CUDNN_ROOT`, {@link depsFolder}, the system, and Python environments. */
export function findCudnnHeaders(): CudnnHeaders[] {
  const folders = [
    ...within([process.env.CUDNN_ROOT], 'include', '.'),
    ...within(partOf([depsFolder], 'cudnn'), 'include'),
    '/usr/include',
    '/usr/include/x86_64-linux-gnu',
    '/usr/include/aarch64-linux-gnu',
    ...within([process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda'], 'include'),
    ...within(partOf(pythonFolders(), 'cudnn'), 'include'),
  ]
  return folders
    .filter(folder => ['cudnn_graph.h', 'cudnn_version.h'].every(name => existsSync(join(folder, name))))
    .map(folder => ({ folder, version: cudnnVersion(readFileSync(join(folder, 'cudnn_version.h'), 'utf8')) }))
}

const cudnnVersion = (header: string): string =>
  ['MAJOR', 'MINOR', 'PATCHLEVEL']
    .map(part => new RegExp(`#define CUDNN_${part} (\\d+)`).exec(header)?.[1] ?? '0')
    .join('.')

/** Whether `version` is at least `needed`; both like '9.12.0'. */
export function isNewEnough(version: string, needed: string): boolean {
  const [a, b] = [version, needed].map(text => text.split('.').map(Number))
  const differs = b!.findIndex((part, i) => a![i] !== part)
  return differs < 0 || (a![differs] ?? 0) > b![differs]!
}

/**
 * Paths to try for a library: where its variable points (`CUDNN_ROOT`; `CUDA_HOME`, `CUDA_PATH`), {@link depsFolder}, which
 * exists only if someone ran the setup, the system's own search, `/usr/local/cuda`, Python environments.
 */
function candidates(library: Library): string[] {
  const name = sonames[library]
  if (library === 'driver') return [name]
  const [roots, part]: [(string | undefined)[], WheelPart] =
    library === 'cudnn'
      ? [[process.env.CUDNN_ROOT], 'cudnn']
      : [[process.env.CUDA_HOME, process.env.CUDA_PATH], 'cu13']
  const paths = (folders: string[]) => folders.map(folder => join(folder, name)).filter(existsSync)
  return [
    ...paths(within(roots, 'lib', 'lib64', '.')),
    ...paths(within(partOf([depsFolder], part), 'lib')),
    name,
    ...paths(['/usr/local/cuda/lib64', ...within(partOf(pythonFolders(), part), 'lib')]),
  ]
}

/** The libraries needed to run on a GPU. */
export function runtimeLibraries(): LibraryCandidates {
  return Object.fromEntries(
    (Object.keys(sonames) as Library[]).map(library => [library, candidates(library)]),
  )
}

/**
 * The libraries needed to compile for an absent GPU: instead of a driver and cuBLASLt, their stand-ins in `addonFolder` will
 * do.
 */
export function compileLibraries(addonFolder: string): LibraryCandidates {
  const standin = (library: Library) => join(addonFolder, 'standin', sonames[library])
  return {
    driver: [...candidates('driver'), standin('driver')],
    cublasLt: [...candidates('cublasLt'), standin('cublasLt')],
    nvrtc: candidates('nvrtc'),
    cudnn: candidates('cudnn'),
  }
}
