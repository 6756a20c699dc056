import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSession, type Plan, type SessionDevice } from '../../lib/index.ts'
import type { NormalizeOp } from '../../lib/model/ops.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { chooseForCpu } from '../../lib/runtime/cpu-precision.ts'
import { reducedKernels } from '../../lib/runtime/native.ts'
import { fasterPrecisions, speedHints } from '../../lib/runtime/reduced-speed.ts'
import { relativeError } from '../support/golden.ts'
import { quantizationOf } from '../support/quantizations.ts'
import { tinyBytes, tinyInput, tinyPlan, tinyWeights } from '../support/tiny.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

const amx = { bf16: 'amx', int8: 'amx' }
const avx2 = { bf16: null, int8: 'avx2' }
const quantization = quantizationOf(tinyPlan, { fc: 'bf16' })
const quantized = { ...tinyWeights, quantization }
const precisionsIn = ({ values }: Plan) => new Set(values.map(({ precision = 'fp32' }) => precision))
const unsupported = (message: RegExp) =>
  expect.objectContaining({ code: 'PRECISION_UNSUPPORTED', message: expect.stringMatching(message) })

describe('the precision on the CPU', () => {
  it('is fp32 unless the weights are quantized', () => {
    expect(chooseForCpu(tinyPlan, tinyWeights, undefined, false, amx)).toEqual({
      plan: tinyPlan,
      precision: 'fp32',
    })
    for (const kernels of [amx, avx2]) {
      const { plan, precision } = chooseForCpu(tinyPlan, quantized, undefined, false, kernels)
      expect(precision).toBe('int8')
      expect(plan).toEqual(
        reducedPlan(tinyPlan, { precision: 'int8', quantization, bf16: kernels.bf16 !== null }),
      )
    }
    expect(chooseForCpu(tinyPlan, quantized, 'fp32', false, amx)).toEqual({
      plan: tinyPlan,
      precision: 'fp32',
    })
  })

  it('is bf16 if asked for and faster than fp32, of quantized weights too', () => {
    for (const weights of [tinyWeights, quantized]) {
      const { plan, precision } = chooseForCpu(tinyPlan, weights, 'bf16', false, amx)
      expect([precision, plan]).toEqual(['bf16', reducedPlan(tinyPlan, { precision: 'bf16' })])
      const slower = chooseForCpu(tinyPlan, weights, 'bf16', false, avx2)
      expect(slower).toEqual({
        plan: tinyPlan,
        precision: 'fp32',
        precisionReason: expect.stringMatching(/nothing is faster than in fp32.*AMX/),
      })
    }
  })

  it('is not int8 of weights that are not quantized', () => {
    const choose = () => chooseForCpu(tinyPlan, tinyWeights, 'int8', true, amx)
    expect(choose).toThrow(unsupported(/the golden formula is not one.*`residual quantize`/))
  })

  it.each(['fp16', 'tf32'] as const)(
    'is fp32 instead of %s only where the CPU stands in for a GPU',
    asked => {
      expect(chooseForCpu(tinyPlan, tinyWeights, asked, true, amx)).toEqual({
        plan: tinyPlan,
        precision: 'fp32',
        precisionReason: `${asked} is for GPUs; on the CPU there are fp32, bf16, int8.`,
      })
      expect(() => chooseForCpu(tinyPlan, tinyWeights, asked, false, amx)).toThrow(unsupported(/is for GPUs/))
    },
  )

  it('is that of a plan which says itself how values are kept', () => {
    for (const plan of [
      reducedPlan(tinyPlan, { precision: 'bf16' }),
      reducedPlan(tinyPlan, { precision: 'int8', quantization, bf16: true }),
    ]) {
      const own = precisionsIn(plan).has('uint8') ? 'int8' : 'bf16'
      for (const asked of [undefined, own] as const)
        expect(chooseForCpu(plan, quantized, asked, false, avx2)).toEqual({ plan, precision: own })
      expect(() => chooseForCpu(plan, quantized, 'fp32', false, amx)).toThrow(
        unsupported(/keeps its values in .* already: leave out the precision fp32/),
      )
    }
  })

  it('is refused for a quantization of another network', () => {
    const other = { ...tinyWeights, quantization: { ...quantization, kept: { other: 'fp32' } } } as const
    expect(() => chooseForCpu(tinyPlan, other, undefined, false, amx)).toThrow(
      expect.objectContaining({
        code: 'CHECKPOINT_MISMATCH',
        message: expect.stringMatching(/^the golden formula: The quantization does not fit the network/),
      }),
    )
  })
})

describe('a session on the CPU', () => {
  it('says what it computes in, and runs that plan', async () => {
    await using session = await createSession(tinyPlan, tinyWeights, { device: 'cpu' })
    expect(session.device).toMatchObject({ kind: 'cpu', precision: 'fp32' })
    expect(session.plan).toBe(tinyPlan)
  })

  it('computes in fp32 where bf16 is not faster, and says why', async () => {
    vi.stubEnv('RESIDUAL_CPU_ISA', 'baseline')
    await using asked = await createSession(tinyPlan, tinyWeights, { device: 'cpu', precision: 'bf16' })
    expect(asked.device).toMatchObject({
      isa: 'baseline',
      precision: 'fp32',
      precisionReason: expect.stringContaining('nothing is faster than in fp32'),
    })
    await using usual = await createSession(tinyPlan, tinyWeights, { device: 'cpu' })
    expect(usual.device).not.toHaveProperty('precisionReason')
    const images = tinyInput(2)
    expect(await asked.run(images)).toEqual(await usual.run(images))
  })

  it('computes in int8 with quantized weights, and in fp32 what those keep', async () => {
    const kept = { ...quantization, kept: { 'block.conv2': 'fp32' } } as const
    const options = { device: 'cpu', autotune: true, planCache: null } as const
    await using session = await createSession(tinyPlan, { ...tinyWeights, quantization: kept }, options)
    expect(session.device).toMatchObject({ kind: 'cpu', precision: 'int8' })
    expect(session.plan).toEqual(
      reducedPlan(tinyPlan, { precision: 'int8', quantization: kept, bf16: false }),
    )
    const chosen = session.plan.ops.filter((_, i) => session.algorithms[i] !== null)
    expect(chosen.map(({ name }) => name)).toContain('block.conv2')
    const { mean, std } = tinyPlan.ops[0] as NormalizeOp
    const bytes = tinyBytes(3)
    const floats = Float32Array.from(bytes, (byte, i) => (byte / 255 - mean[i % 3]!) / std[i % 3]!)
    const outputs = ['logits', 'features', 'featureMaps'] as const
    expect(await session.run(floats, { outputs })).toEqual(await session.run(bytes, { outputs }))
    await expect(session.run(floats.map(number => 9 * number))).rejects.toMatchObject({
      code: 'INPUT_OUT_OF_RANGE',
    })
    expect(await session.profile(bytes, { runs: 1 })).toHaveLength(session.plan.ops.length)
  })

  it.skipIf(reducedKernels().bf16 === null)(
    'computes in bf16 what it computes in fp32, but for rounding',
    async () => {
      const options = { device: 'cpu', threads: 2 } as const
      await using session = await createSession(tinyPlan, tinyWeights, { ...options, precision: 'bf16' })
      await using exact = await createSession(tinyPlan, tinyWeights, options)
      expect(session.device).toMatchObject({ precision: 'bf16' })
      const outputs = ['logits', 'features', 'featureMaps'] as const
      const [actual, expected] = [
        await session.run(tinyBytes(5), { outputs }),
        await exact.run(tinyBytes(5), { outputs }),
      ]
      for (const name of outputs) {
        const error = relativeError(actual[name], expected[name])
        expect(error, name).toBeLessThan(2e-2)
        expect(error, name).toBeGreaterThan(0)
      }
    },
  )

  it('refuses precisions that it cannot compute in', async () => {
    for (const precision of ['fp16', 'int8'] as const)
      await expect(createSession(tinyPlan, tinyWeights, { device: 'cpu', precision })).rejects.toMatchObject({
        code: 'PRECISION_UNSUPPORTED',
      })
  })
})

describe('the hints for more speed', () => {
  const cpu = (precision: 'fp32' | 'bf16' | 'int8'): SessionDevice => ({
    kind: 'cpu',
    isa: 'avx512',
    threads: 2,
    precision,
  })
  const gpu: SessionDevice = { kind: 'cuda', name: 'NVIDIA L4', index: 0, precision: 'fp16' }

  it('name the precisions of fewer bits that this CPU has kernels for', () => {
    const hints = speedHints(amx, [cpu('fp32')])
    expect(hints).toEqual([
      expect.stringMatching(/^This CPU has AMX: --precision bf16 runs about [\d.]+ times as fast as fp32\.$/),
      expect.stringMatching(
        /^This CPU has AMX: int8, for models of `residual quantize`, runs about [\d.]+ times/,
      ),
    ])
    expect(speedHints(amx, [cpu('bf16'), gpu, undefined])).toEqual(hints.slice(1))
    expect(speedHints(amx, [cpu('int8'), cpu('fp32')])).toEqual(hints)
    expect(speedHints({ bf16: null, int8: 'avx512vnni' }, [cpu('fp32')])).toEqual([
      expect.stringMatching(/^This CPU has AVX-512 VNNI: int8/),
    ])
    expect(speedHints({ bf16: 'bf16', int8: null }, [cpu('fp32')])).toEqual([
      'This CPU has BF16: --precision bf16 is faster than fp32.',
    ])
  })

  it('are none where there is nothing to gain', () => {
    expect(speedHints(amx, [cpu('int8')])).toEqual([])
    expect(speedHints(amx, [gpu, undefined])).toEqual([])
    expect(speedHints({ bf16: null, int8: 'baseline' }, [cpu('fp32')])).toEqual([])
    expect(fasterPrecisions({ bf16: null, int8: null })).toEqual([])
  })
})
