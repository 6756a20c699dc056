// Builds the CUDA backend's addon and the stand-ins: finds cuDNN's headers, or downloads them, and calls build-native.mjs.
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findCudnnIncludes } from '../dist/runtime/cuda-libraries.js'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const run = (script, ...args) => {
  const { status } = spawnSync(process.execPath, [join(root, 'scripts', script), ...args], {
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(status ?? 1)
}

if (
  spawnSync('nvcc', ['--version'], { stdio: 'ignore' }).status !== 0 &&
  !process.env.CUDA_PATH &&
  !process.env.CUDA_HOME
) {
  console.error('residual: there is no nvcc. Install the CUDA 13 toolkit and put its bin folder on the PATH.')
  process.exit(1)
}
if (findCudnnIncludes().length === 0) run('setup-cuda.mjs')
const [include] = findCudnnIncludes()
console.error(`residual: cuDNN's headers are those in ${include}`)
run(
  'build-native.mjs',
  '--out',
  join(root, 'build-cuda'),
  '--CDRESIDUAL_CUDA=ON',
  `--CDCUDNN_INCLUDE_DIR=${include}`,
)
