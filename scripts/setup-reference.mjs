// Creates the Python environment whose frameworks residual is compared with: .deps/python, with the versions in
// scripts/reference.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const lists = join(root, 'scripts', 'reference')
const target = join(root, '.deps', 'python')
const complete = join(target, 'complete') // written last
const windows = process.platform === 'win32'
const python = join(target, ...(windows ? ['Scripts', 'python.exe'] : ['bin', 'python3']))

/** Every module that the comparisons import. */
const modules = [
  ...[
    'torch',
    'torchvision',
    'timm',
    'torchao',
    'transformers',
    'keras',
    'tensorflow',
    'paddle',
    'safetensors',
    'PIL',
    'h5py',
  ],
  ...['onnx', 'onnxscript', 'onnxruntime', 'openvino', 'cv2', 'kserve'],
  ...['tritonclient.http.aio', 'tritonclient.grpc.aio'],
]

const files = ['requirements.txt', 'constraints.txt', 'torch.txt', 'residual_torchvision.py']
const wanted = createHash('sha256')
for (const file of files) wanted.update(readFileSync(join(lists, file)))
const fingerprint = wanted.digest('hex')

if (process.env.RESIDUAL_PYTHON) {
  console.error(
    `residual: the reference frameworks are those of RESIDUAL_PYTHON (${process.env.RESIDUAL_PYTHON})`,
  )
} else if (
  existsSync(complete) &&
  readFileSync(complete, 'utf8') === fingerprint &&
  works(python, 'import torch')
) {
  console.error(`residual: ${target} is complete`)
} else {
  try {
    build()
    console.error(`residual: ${target} is complete`)
  } catch (error) {
    console.error(
      `residual: ${error.message}\nresidual: setup:reference needs python3 (3.11 or later) with venv and pip, access to PyPI, and 5 GB of disk.`,
    )
    process.exitCode = 1
  }
}

function build() {
  const base = process.env.PYTHON ?? (windows ? 'python' : 'python3')
  if (!works(base, 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)'))
    throw new Error(
      `${base} is missing, older than 3.11, or has no venv (Debian: apt-get install python3-venv).`,
    )
  rmSync(target, { recursive: true, force: true }) // an interrupted run may have left anything
  execFileSync(base, ['-m', 'venv', target], { stdio: 'inherit' })
  console.error(`residual: installing the reference frameworks into ${target} (about 1.3 GB to download) ...`)
  installTorch()
  pip('--requirement', join(lists, 'requirements.txt'), '--constraint', join(lists, 'constraints.txt'))
  if (!works(python, 'import torchvision')) declareOperators()
  for (const module of modules) {
    const { status, stderr, error } = spawnSync(python, ['-W', 'ignore', '-c', `import ${module}`], {
      encoding: 'utf8',
    })
    if (status !== 0)
      throw new Error(`${module} cannot be imported: ${error?.message ?? stderr.trim().split('\n').at(-1)}`)
  }
  writeFileSync(complete, fingerprint)
}

/**
 * PyTorch for the CPU, a tenth of the size of PyPI's for Linux: from wherever pip is configured to look, else from PyTorch's own
 * index, else as on PyPI.
 */
function installTorch() {
  const versions = readFileSync(join(lists, 'torch.txt'), 'utf8').match(/^[a-z].*$/gm)
  const [torch, torchvision] = versions
  const attempts = [
    () => pip('--quiet', `${torch}+cpu`) && pip('--no-deps', torchvision),
    () => pip('--index-url', 'https://download.pytorch.org/whl/cpu', ...versions),
    () => pip(...versions),
  ]
  for (const [i, attempt] of attempts.entries()) {
    try {
      return attempt()
    } catch (error) {
      if (i === attempts.length - 1) throw error
    }
  }
}

function pip(...packages) {
  const options = ['--disable-pip-version-check', '--progress-bar', 'off']
  execFileSync(python, ['-m', 'pip', 'install', ...options, ...packages], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  return true
}

/** Installs a hook for torchvision; the hook's own comment says why. */
function declareOperators() {
  const folder = execFileSync(python, ['-c', "import sysconfig; print(sysconfig.get_path('purelib'))"], {
    encoding: 'utf8',
  })
  copyFileSync(join(lists, 'residual_torchvision.py'), join(folder.trim(), 'residual_torchvision.py'))
  writeFileSync(join(folder.trim(), 'residual_torchvision.pth'), 'import residual_torchvision\n')
}

function works(python, code) {
  return spawnSync(python, ['-W', 'ignore', '-c', code], { stdio: 'ignore' }).status === 0
}
