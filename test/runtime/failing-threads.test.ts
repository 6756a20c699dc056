import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { temporaryFolder } from '../support/files.ts'
import { noTwin, twin, twinGpu } from '../support/twin.ts'

const notHere = process.platform === 'linux' ? undefined : 'skipped: it preloads a library as Linux does it'
if (notHere) console.log(notHere)

describe.skipIf(notHere)('A thread that cannot be started for lack of memory', () => {
  const library = join(temporaryFolder(), 'failing_threads.so')
  beforeAll(() => {
    const source = join(packageRoot, 'test', 'support', 'failing_threads.cc')
    execFileSync(process.env.CXX ?? 'g++', ['-std=c++17', '-shared', '-fPIC', '-o', library, source, '-ldl'])
  })

  /** What a process prints whose `failing`-th thread of C++ cannot be started. */
  const run = async (failing: number, script: string, env: object = {}) => {
    const tsx = join(packageRoot, 'node_modules', 'tsx', 'dist', 'loader.mjs')
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', tsx, '--input-type=module', '-e', script],
      {
        cwd: packageRoot,
        env: { ...process.env, ...env, LD_PRELOAD: library, RESIDUAL_FAILING_THREAD: String(failing) },
      },
    )
    return stdout.trim().split('\n')
  }

  it.each([1, 2, 3])('fails the session but not the process: helper %i of three', async failing => {
    const lines = await run(
      failing,
      `
      import { createSession } from './lib/index.ts'
      import { tinyBytes, tinyPlan, tinyWeights } from './test/support/tiny.ts'
      const open = () => createSession(tinyPlan, tinyWeights, { device: 'cpu', threads: 4 })
      await open().catch(({ code, message }) => console.log(code, message))
      console.log((await (await open()).run(tinyBytes(1))).logits.length)
      `,
    )
    expect(lines).toEqual([
      'OUT_OF_MEMORY Could not start 4 threads: std::bad_alloc. Use fewer threads.',
      '4',
    ])
  })

  it.skipIf(noTwin)(
    'costs the building of CUDA plans time and nothing else',
    { timeout: 300_000 },
    async () => {
      const lines = await run(
        1,
        `
      import { createSession } from './lib/index.ts'
      import { tinyBytes, tinyPlan, tinyWeights } from './test/support/tiny.ts'
      const options = { device: 'cuda', planCache: null, batchSizes: [1] }
      const session = await createSession(tinyPlan, tinyWeights, options)
      console.log((await session.run(tinyBytes(1))).logits.length)
      `,
        {
          RESIDUAL_CUDA_ADDON: twin,
          RESIDUAL_TWIN_GPU: join(packageRoot, 'gpus', `${twinGpu}.json`),
          RESIDUAL_TWIN_SEED: '1',
          RESIDUAL_TWIN_FAULTS: '',
        },
      )
      expect(lines).toEqual(['4'])
    },
  )
})
