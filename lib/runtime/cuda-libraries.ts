// Where may CUDA's and cuDNN's libraries be? The addon is not linked with them, so that it loads without.
import { existsSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from '../package-root.ts'

/** Shared libraries to open, by what they are, each with the paths and names to try, best first. */
export type LibraryCandidates = { readonly [library: string]: readonly string[] }

const sonames = {
  driver: 'libcuda.so.1',
  cublasLt: 'libcublasLt.so.13',
  nvrtc: 'libnvrtc.so.13',
  cudart: 'libcudart.so.13',
  cudnn: 'libcudnn.so.9',
} as const
type Library = keyof typeof sonames

/** Where `npm run setup:cuda` puts what it downloads. */
export const depsFolder: string = join(packageRoot, '.deps', 'cuda')

/** Folders that Python packages are installed into, without asking any Python: `VIRTUAL_ENV`, conda, the user's, the system's. */
function sitePackages(): string[] {
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
function wheelFolders(part: 'cudnn' | 'cu13'): string[] {
  return [...sitePackages(), depsFolder].map(folder => join(folder, 'nvidia', part)).filter(existsSync)
}

const within = (folders: readonly (string | undefined)[], ...names: readonly string[]): string[] =>
  folders.filter(folder => folder !== undefined).flatMap(folder => names.map(name => join(folder, name)))

/** Folders that may hold `cudnn_graph.h`: `CUDNN_ROOT`, the system, Python wheels, {@link depsFolder}; those that do. */
export function findCudnnIncludes(): string[] {
  const folders = [
    ...within([process.env.CUDNN_ROOT], 'include', '.'),
    '/usr/include',
    '/usr/include/x86_64-linux-gnu',
    '/usr/include/aarch64-linux-gnu',
    ...within([process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda'], 'include'),
    ...within(wheelFolders('cudnn'), 'include'),
  ]
  return folders.filter(folder => existsSync(join(folder, 'cudnn_graph.h')))
}

/**
 * Paths to try for a library: where its variable points (`CUDNN_ROOT`; `CUDA_HOME`, `CUDA_PATH`), the system's own search,
 * `/usr/local/cuda`, Python wheels, {@link depsFolder}.
 */
function candidates(library: Library): string[] {
  const name = sonames[library]
  if (library === 'driver') return [name]
  const roots =
    library === 'cudnn' ? [process.env.CUDNN_ROOT] : [process.env.CUDA_HOME, process.env.CUDA_PATH]
  const folders = [
    ...within(roots, 'lib', 'lib64', '.'),
    ...within(['/usr/local/cuda'], 'lib64'),
    ...within(wheelFolders(library === 'cudnn' ? 'cudnn' : 'cu13'), 'lib'),
  ]
  const paths = folders.map(folder => join(folder, name)).filter(existsSync)
  // The bare name is what the dynamic linker knows; only what a variable names comes before it.
  const named = paths.filter(path => roots.some(root => root !== undefined && path.startsWith(root)))
  return [...named, name, ...paths.filter(path => !named.includes(path))]
}

/** What running on a GPU takes. */
export function runtimeLibraries(): LibraryCandidates {
  return Object.fromEntries(
    (Object.keys(sonames) as Library[]).map(library => [library, candidates(library)]),
  )
}

/**
 * What compiling for a GPU takes that is not there: without a driver or cuBLASLt their stand-ins do, which `addonFolder` holds.
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
