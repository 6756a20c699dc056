// Finds nvcc on this machine and checks that it is usable: CUDA 13, with headers, and able to compile a kernel with the host
// compiler.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'

/**
 * @typedef {object} Nvcc
 * @property {string} nvcc path of the program
 * @property {string} version
 * @property {string} cudaInclude folder of cuda_runtime_api.h
 */

const major = 13

/**
 * The first usable nvcc of `CUDA_HOME`, `CUDA_PATH`, `PATH`, `/usr/local/cuda`, Python environments.
 *
 * @param {readonly string[]} pythonFolders laid out as wheels unpack
 * @param {(note: string) => void} say called for each unusable one
 * @returns {Nvcc | undefined}
 */
export function findNvcc(pythonFolders, say) {
  const { CUDA_HOME, CUDA_PATH, PATH = '' } = process.env
  const roots = [CUDA_HOME, CUDA_PATH].filter(Boolean).map(root => join(root, 'bin'))
  const wheels = pythonFolders.map(folder => join(folder, 'nvidia', 'cu13', 'bin'))
  const folders = [...roots, ...PATH.split(delimiter).filter(Boolean), '/usr/local/cuda/bin', ...wheels]
  const paths = new Set(folders.map(folder => resolve(folder, 'nvcc')).filter(existsSync))
  for (const path of paths) {
    try {
      return nvccAt(path)
    } catch (error) {
      say(`${path} is not used: ${error.message}`)
    }
  }
  return undefined
}

/**
 * @param {string} nvcc
 * @returns {Nvcc}
 * @throws {Error} if it is unusable
 */
export function nvccAt(nvcc) {
  const said = spawnSync(nvcc, ['--version'], { encoding: 'utf8' })
  const version = /release (\d+\.\d+)/.exec(said.stdout ?? '')?.[1]
  if (!version)
    throw new Error(`it does not report its version (${said.error?.message ?? said.stderr.trim()})`)
  if (Number.parseInt(version, 10) !== major) throw new Error(`it is for CUDA ${version}; ${major} is needed`)

  const folder = mkdtempSync(join(tmpdir(), 'residual-nvcc-'))
  try {
    const kernel = join(folder, 'kernel.cu')
    writeFileSync(kernel, '#include <cuda_fp16.h>\n__global__ void twice(__half* x) { *x = *x + *x; }\n')
    const compile = ['-std=c++17', '-arch=sm_75', '-fatbin', '-o', join(folder, 'kernel.fatbin'), kernel]
    const compiled = spawnSync(nvcc, compile, { encoding: 'utf8' })
    if (compiled.status !== 0) throw new Error(`it cannot compile: ${firstLine(compiled.stderr)}`)
    const { stderr } = spawnSync(nvcc, ['--dryrun', ...compile], { encoding: 'utf8' })
    const includes = [...(/^#\$ INCLUDES=(.*)$/m.exec(stderr)?.[1].matchAll(/-I"?([^" ]+)/g) ?? [])]
    const cudaInclude = includes
      .map(([, path]) => resolve(path))
      .find(path => existsSync(join(path, 'cuda_runtime_api.h')))
    if (!cudaInclude) throw new Error('it has no cuda_runtime_api.h')
    return { nvcc, version, cudaInclude }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const firstLine = text => text.trim().split('\n')[0]
