import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findPythonEngines, pythonEngineNames } from '../../bench/python.ts'
import { imagesFor } from '../../lib/benchmark/samples.ts'
import { makeSubject } from '../../lib/benchmark/subject.ts'
import { tinyNetwork, tinyPlan, tinyWeights } from '../support/tiny.ts'

const parts = { network: tinyNetwork, plan: tinyPlan, weights: tinyWeights, path: null }

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-python-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** What stands in for a Python: a program that is called as one. */
async function program(name: string, body: string): Promise<string> {
  const file = join(folder, name)
  await writeFile(file, `#!${process.execPath}\n${body}`)
  await chmod(file, 0o755)
  return file
}

describe('Python engines', () => {
  it('are not found without a Python, and each is reported', async () => {
    const { engines, report } = await findPythonEngines(join(folder, 'no-such-python'))
    expect(engines).toEqual([])
    expect(report).toHaveLength(pythonEngineNames.length)
    expect(report[0]).toMatch(
      /^pytorch: not found with .*no-such-python \(ENOENT\); give another one with --python$/,
    )
  })

  it('are those that import, and the others are reported with a reason', async () => {
    const python = await program(
      'partly.cjs',
      "if (process.argv[4] === 'opencv') console.log('5.0.0')\n" +
        "else { console.error('Traceback\\nModuleNotFoundError: No module'); process.exit(1) }",
    )
    const { engines, report } = await findPythonEngines(python)
    expect(engines.map(({ name, version }) => [name, version])).toEqual([['opencv', '5.0.0']])
    expect(report[0]).toContain('(ModuleNotFoundError: No module)')
    expect(report[1]).toBe(`opencv: 5.0.0, of ${python}`)
  })

  it('report their last words when they end midway', async () => {
    const python = await program(
      'ending.cjs',
      "if (process.argv[3] === 'version') console.log('1')\n" +
        "else process.stdin.once('data', () => { console.error('out of memory'); process.exit(3) })",
    )
    const { engines } = await findPythonEngines(python)
    const subject = await makeSubject('tiny', parts, folder)
    const peer = await engines[0]!.open(subject, { threads: 1, precision: 'fp32' })
    await expect(peer.prepare(imagesFor(tinyPlan, 1))).rejects.toThrow(
      /^pytorch ended with 3: out of memory$/,
    )
    await peer.close()
  })
})
