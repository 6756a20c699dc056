// Builds the CUDA backend's addon, its twin for tests and the stand-ins: finds cuDNN's headers, or downloads them, and calls
// build-native.mjs. With --if-possible a machine that lacks what it takes is told so and passes.
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findCudnnIncludes } from '../dist/runtime/cuda-libraries.js'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const ifPossible = process.argv.includes('--if-possible')
const run = (script, ...args) =>
  spawnSync(process.execPath, [join(root, 'scripts', script), ...args], { stdio: 'inherit' }).status === 0

function giveUp(reason) {
  console.error(`residual: ${ifPossible ? 'the CUDA backend is not built: ' : ''}${reason}`)
  process.exit(ifPossible ? 0 : 1)
}

const { CUDA_PATH, CUDA_HOME } = process.env
if (spawnSync('nvcc', ['--version'], { stdio: 'ignore' }).status !== 0 && !CUDA_PATH && !CUDA_HOME)
  giveUp('there is no nvcc. Install the CUDA 13 toolkit and put its bin folder on the PATH.')
if (findCudnnIncludes().length === 0 && !run('setup-cuda.mjs')) giveUp('cuDNN could not be downloaded.')
const [include] = findCudnnIncludes()
console.error(`residual: cuDNN's headers are those in ${include}`)
const out = join(root, 'build-cuda')
if (!run('build-native.mjs', '--out', out, '--CDRESIDUAL_CUDA=ON', `--CDCUDNN_INCLUDE_DIR=${include}`))
  process.exit(1)
