import { afterEach, describe, expect, it, vi } from 'vitest'
import { goneWith, hiddenHere, hideable, withSettings } from '../../bench/hide-features.ts'

afterEach(() => vi.unstubAllEnvs())

describe('hiding instructions where CPUID cannot', () => {
  it.each(hideable)('tells residual and oneDNN not to use them: %s', hidden => {
    const { RESIDUAL_CPU_ISA, ONEDNN_MAX_CPU_ISA } = withSettings(hidden)
    expect(RESIDUAL_CPU_ISA).toBeDefined()
    expect(goneWith[hidden]).not.toContain(RESIDUAL_CPU_ISA)
    expect(ONEDNN_MAX_CPU_ISA).toBe({ amx: 'AVX512_CORE_FP16', avx512: 'AVX2_VNNI_2', vnni: 'AVX2' }[hidden])
  })

  it('says in the report from which engines it is not hidden', () => {
    expect(hiddenHere('amx')).toBeUndefined()
    vi.stubEnv('RESIDUAL_HIDE', 'amx')
    vi.stubEnv('RESIDUAL_CPU_ISA', 'baseline')
    expect(hiddenHere('amx')).toBe(
      'AMX hidden only from residual (baseline), PyTorch and TensorFlow, by their settings: this CPU cannot hide it from the others',
    )
    expect(hiddenHere('avx512')).toBeUndefined()
  })
})
