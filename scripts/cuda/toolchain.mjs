// The toolchain of the CUDA backend: this machine's nvcc, cuDNN and NVRTC where they are recent enough; NVIDIA's wheels in
// .deps/cuda where they are not, or where the wheels are there already.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { builtLibraries } from './built-libraries.mjs'
import { fetchWheels, missingWheels } from './fetch.mjs'
import { findNvcc, nvccAt } from './nvcc.mjs'
import { openedLibraries } from './opened-library.mjs'
import { compiler, cublas, cudart, cudnn, nvrtc } from './wheels.mjs'

/**
 * @typedef {object} Toolchain
 * @property {string} nvcc path of the program
 * @property {string} cudaInclude folder of cuda_runtime_api.h
 * @property {string} cudnnInclude folder of cudnn_graph.h
 */

/**
 * Finds the toolchain, and downloads whatever this machine lacks. With `RESIDUAL_CUDA_TOOLKIT=pip` the machine counts as
 * having nothing.
 *
 * @param {object} options
 * @param {boolean} options.runtime also what it takes to run on a GPU
 * @param {(note: string) => void} options.say called with what was chosen and why
 * @returns {Promise<Toolchain>}
 * @throws {Error} in one line that says what to do
 */
export async function prepareToolchain({ runtime, say }) {
  const toolkit = process.env.RESIDUAL_CUDA_TOOLKIT ?? 'auto'
  if (!['auto', 'pip'].includes(toolkit))
    throw new Error(`RESIDUAL_CUDA_TOOLKIT is '${toolkit}'; it must be 'auto' or 'pip'.`)
  const libraries = await builtLibraries()
  const { depsFolder } = libraries
  const deps = (...names) => join(depsFolder, 'nvidia', ...names)
  // Downloaded wheels stay pinned: at run time they take precedence over the machine's own libraries.
  const asksMachine = (...names) => toolkit === 'auto' && !existsSync(deps(...names))

  const opened = toolkit === 'auto' ? openedLibraries(ofMachine(libraries)) : {}
  const nvcc = asksMachine('cu13', 'bin', 'nvcc') ? findNvcc(libraries.pythonFolders(), say) : undefined
  const headers = asksMachine('cudnn') ? usableHeaders(libraries, opened.cudnn, say) : undefined
  const lacks = (library, file) => !opened[library] || !asksMachine('cu13', 'lib', file)
  const wheels = [
    ...(nvcc ? [] : compiler),
    ...(headers ? [] : [cudnn]),
    ...(lacks('nvrtc', 'libnvrtc.so.13') ? [nvrtc] : []),
    ...(runtime && lacks('cublasLt', 'libcublasLt.so.13') ? [cublas] : []),
    ...(runtime && nvcc && lacks('cudart', 'libcudart.so.13') ? [cudart] : []),
  ]
  const missing = missingWheels(depsFolder, wheels)
  const list = missing.map(({ name, version }) => `${name} ${version}`).join(', ')
  if (missing.length > 0) say(`downloading ${list} with pip to ${depsFolder} ...`)
  fetchWheels(depsFolder, wheels)

  const { version, ...found } = nvcc ?? nvccAt(deps('cu13', 'bin', 'nvcc'))
  const cudnnInclude = headers?.folder ?? deps('cudnn', 'include')
  say(`nvcc ${version} (${found.nvcc}), cuDNN ${headers?.version ?? cudnn.version} (${cudnnInclude})`)
  return { ...found, cudnnInclude }
}

/** Where libraries may be, apart from downloaded ones. */
function ofMachine({ depsFolder, runtimeLibraries }) {
  const entries = Object.entries(runtimeLibraries()).map(([library, paths]) => [
    library,
    paths.filter(path => !path.startsWith(`${depsFolder}/`)),
  ])
  return Object.fromEntries(entries)
}

/** The headers of a cuDNN of this machine whose library is `opened` and usable; says why if it is not. */
function usableHeaders({ depsFolder, findCudnnHeaders, isNewEnough, minCudnn }, opened, say) {
  if (!opened) return undefined
  const headers = findCudnnHeaders().find(
    ({ folder, version }) => !folder.startsWith(`${depsFolder}/`) && isNewEnough(version, minCudnn),
  )
  const refused = !isNewEnough(opened.version, minCudnn)
    ? `${minCudnn} is needed`
    : opened.cuda !== 13
      ? `it is for CUDA ${opened.cuda}; 13 is needed`
      : !headers && 'its headers are missing'
  if (!refused) return headers
  say(`cuDNN ${opened.version} (${opened.path}) is not used: ${refused}`)
  return undefined
}
