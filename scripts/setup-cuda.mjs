// Downloads what the CUDA backend is built and tested with into .deps/cuda, as NVIDIA's Python wheels, unless this machine has
// it: nvcc, cuDNN and NVRTC, and on a machine with a GPU (or with --runtime) the CUDA runtime and the cuBLAS that cuDNN needs
// there.
import { spawnSync } from 'node:child_process'
import { prepareToolchain } from './cuda/toolchain.mjs'

const hasGpu = spawnSync('nvidia-smi', ['-L'], { stdio: 'ignore' }).status === 0
try {
  const runtime = hasGpu || process.argv.includes('--runtime')
  await prepareToolchain({ runtime, say: note => console.error(`residual: ${note}`) })
} catch (error) {
  console.error(`residual: ${error.message}`)
  process.exitCode = 1
}
