// Builds the CUDA backend's addon, its twin for tests and the stand-ins, with the toolchain that scripts/cuda/toolchain.mjs finds
// or downloads. With --if-possible, a machine that cannot build them gets a note and passes, unless RESIDUAL_CUDA_TESTS is
// `required`.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prepareToolchain } from './cuda/toolchain.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const ifPossible = process.argv.includes('--if-possible') && process.env.RESIDUAL_CUDA_TESTS !== 'required'
const say = note => console.error(`residual: ${note}`)

const toolchain = await prepareToolchain({ runtime: false, say }).catch(error => {
  say(`${ifPossible ? 'the CUDA backend is not built: ' : ''}${error.message}`)
  process.exit(ifPossible ? 0 : 1)
})
const definitions = [
  '--CDRESIDUAL_CUDA=ON',
  `--CDRESIDUAL_NVCC=${toolchain.nvcc}`,
  `--CDCUDA_INCLUDE_DIR=${toolchain.cudaInclude}`,
  `--CDCUDNN_INCLUDE_DIR=${toolchain.cudnnInclude}`,
]
const out = join(root, 'build-cuda')
const build = [join(root, 'scripts', 'build-native.mjs'), '--out', out, ...definitions]
const { status } = spawnSync(process.execPath, build, { stdio: 'inherit' })
if (status !== 0) process.exit(1)
// For builds of a variant: the sanitizers and the mutations.
writeFileSync(join(out, 'cmake-options.json'), JSON.stringify(definitions))
