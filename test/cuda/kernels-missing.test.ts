import { execFile, execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { temporaryFolder } from '../support/files.ts'

const addon = join(packageRoot, 'build-cuda', 'Release', 'residual-cuda.node')
const notHere = existsSync(addon) ? undefined : `skipped: ${addon} has not been built (npm run build:cuda)`
if (notHere) console.log(notHere)
const folder = temporaryFolder()

it.skipIf(notHere)(
  'A GPU that lacks one of the kernels is refused, and nothing of it stays loaded',
  async () => {
    const library = join(folder, 'libcudart.so')
    const source = join(packageRoot, 'test', 'support', 'failing_cudart.c')
    execFileSync(process.env.CC ?? 'gcc', ['-shared', '-fPIC', '-o', library, source])
    const script = `
    const { NativeSession, openLibraries } = require(${JSON.stringify(addon)})
    const opened = openLibraries({ cudart: [${JSON.stringify(library)}] })
    const plan = {
      values: [{ height: 1, width: 1, channels: 1 }],
      ops: [{ kind: 'normalize', name: 'n', dst: 0, mean: [0], std: [1] }],
      outputs: { logits: 0 },
    }
    opened
      .then(() => NativeSession.open(plan, {}))
      .catch(({ code, message }) => console.log(code, message))
  `
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', script])
    expect(stdout.trim().split('\n')).toEqual([
      'loaded',
      'unloaded',
      expect.stringMatching(/^INTERNAL CUDA: find the kernel \w+: cudaErrorSymbolNotFound/),
    ])
  },
)
