// Downloads what the CUDA backend needs, as Python wheels from PyPI, and unpacks them under .deps/cuda: cuDNN and NVRTC, and
// on a machine with a GPU (or with --runtime) the CUDA runtime and the cuBLAS that cuDNN wants there (400 MB).
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const target = join(root, '.deps', 'cuda')

const hasGpu = spawnSync('nvidia-smi', ['-L'], { stdio: 'ignore' }).status === 0
const wheels = [
  { name: 'nvidia-cudnn-cu13', holds: 'nvidia/cudnn/lib/libcudnn.so.9' },
  { name: 'nvidia-cuda-nvrtc', holds: 'nvidia/cu13/lib/libnvrtc.so.13' },
  ...(hasGpu || process.argv.includes('--runtime')
    ? [
        { name: 'nvidia-cuda-runtime', holds: 'nvidia/cu13/lib/libcudart.so.13' },
        { name: 'nvidia-cublas', holds: 'nvidia/cu13/lib/libcublasLt.so.13' },
      ]
    : []),
]
const missing = wheels.filter(({ holds }) => !existsSync(join(target, holds))).map(({ name }) => name)
if (missing.length === 0) {
  console.error(`residual: ${target} is complete`)
  process.exit(0)
}

// Into a folder of its own, moved into place when it is whole: a download that was cut off leaves nothing behind.
const staging = `${target}.${process.pid}.tmp`
try {
  mkdirSync(staging, { recursive: true })
  console.error(`residual: downloading ${missing.join(', ')} with pip (some 600 MB) ...`)
  execFileSync(
    'python3',
    [
      '-m',
      'pip',
      'download',
      '--quiet',
      '--disable-pip-version-check',
      '--no-deps',
      '--dest',
      staging,
      ...missing,
    ],
    { stdio: 'inherit' },
  )
  for (const wheel of readdirSync(staging).filter(name => name.endsWith('.whl'))) {
    // A wheel is a zip archive; Python is there, as pip was.
    execFileSync('python3', ['-m', 'zipfile', '-e', join(staging, wheel), join(staging, 'unpacked')])
    rmSync(join(staging, wheel))
  }
  merge(join(staging, 'unpacked', 'nvidia'), join(target, 'nvidia'))
} catch (error) {
  console.error(
    `residual: ${error.message}\nresidual: it takes python3 with pip, a way to PyPI, and 2 GB of disk. ` +
      'Or install cuDNN 9.8+ for CUDA 13 yourself and set CUDNN_ROOT.',
  )
  process.exitCode = 1
} finally {
  rmSync(staging, { recursive: true, force: true })
}
if (!process.exitCode) console.error(`residual: unpacked to ${target}`)

// Wheels share folders (nvidia/cu13), so files are moved one by one.
function merge(from, to) {
  mkdirSync(to, { recursive: true })
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, destination] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) merge(source, destination)
    else renameSync(source, destination)
  }
}
