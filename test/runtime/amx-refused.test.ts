import { execFile, execFileSync } from 'node:child_process'
import { constants } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { reducedKernels } from '../../lib/runtime/native.ts'
import { temporaryFolder } from '../support/files.ts'

const notHere =
  reducedKernels().int8 === 'amx' && process.platform === 'linux'
    ? undefined
    : 'skipped: there is no AMX here for the kernel to refuse'
if (notHere) console.log(notHere)

const script = `
  import { createSession } from './lib/index.ts'
  import { info } from './lib/cli/info.ts'
  import { quantizationOf } from './test/support/quantizations.ts'
  import { tinyBytes, tinyPlan, tinyWeights } from './test/support/tiny.ts'
  const run = async (weights, options) => {
    const session = await createSession(tinyPlan, weights, { device: 'cpu', threads: 2, ...options })
    const outputs = await session.run(tinyBytes(5), { outputs: ['logits', 'features', 'featureMaps'] })
    const numbers = Object.values(outputs).flatMap(output => [...output])
    const { device } = session
    await session.dispose()
    return { device, numbers }
  }
  const quantized = { ...tinyWeights, quantization: quantizationOf(tinyPlan) }
  console.log(JSON.stringify([await run(quantized), await run(tinyWeights, { precision: 'bf16' })]))
  await info({ size: 224, json: true })
`

interface Run {
  readonly device: { readonly isa: string; readonly precision: string; readonly precisionReason?: string }
  readonly numbers: readonly number[]
}

describe.skipIf(notHere)('A session on a CPU whose AMX the kernel refuses', () => {
  const launcher = join(temporaryFolder(), 'refusing_amx')
  beforeAll(() => {
    const source = join(packageRoot, 'test', 'support', 'refusing_amx.c')
    execFileSync(process.env.CC ?? 'gcc', ['-o', launcher, source])
  })

  /** What the script prints, started by `command`. */
  const outcomeOf = async (command: string, ...args: string[]) => {
    const tsx = join(packageRoot, 'node_modules', 'tsx', 'dist', 'loader.mjs')
    const node = [...args, '--import', tsx, '--input-type=module', '-e', script]
    const { stdout } = await promisify(execFile)(command, node, { cwd: packageRoot, maxBuffer: 1 << 26 })
    const [line, ...facts] = stdout.split('\n')
    const [int8, bf16] = JSON.parse(line!) as [Run, Run]
    return { int8, bf16, facts: JSON.parse(facts.join('\n')) }
  }

  it.each(['EPERM', 'EINVAL', 'ENOSYS'] as const)(
    'computes the same with AVX-512, and says so: %s',
    async error => {
      const usual = await outcomeOf(process.execPath)
      const refused = await outcomeOf(launcher, String(constants.errno[error]), process.execPath)
      expect(usual.int8.device).toMatchObject({ isa: 'amx', precision: 'int8' })
      expect(refused.int8.device).toMatchObject({ isa: 'avx512vnni', precision: 'int8' })
      expect(refused.int8.numbers).toEqual(usual.int8.numbers)

      expect(usual.bf16.device).toMatchObject({ isa: 'amx', precision: 'bf16' })
      const { isa, precision, precisionReason } = refused.bf16.device
      if (precision === 'bf16') expect(isa).toBe('avx512bf16')
      else expect(precisionReason).toContain('nothing is faster than in fp32')
      for (const [i, number] of refused.bf16.numbers.entries())
        expect(Math.abs(number - usual.bf16.numbers[i]!)).toBeLessThan(0.03)

      const isaIn = ({ facts }: typeof usual) =>
        facts.precisions.find((its: { precision: string }) => its.precision === 'int8').isa
      expect([isaIn(usual), isaIn(refused)]).toEqual(['amx', 'avx512vnni'])
      expect(refused.facts.isa).toBe(usual.facts.isa) // what fp32 is computed with
    },
  )
})
