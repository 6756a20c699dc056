import { describe, expect, it, vi } from 'vitest'
import { fewestRounds, fmaPeak, inRounds } from '../../lib/benchmark/measure.ts'
import { loadNative } from '../../lib/runtime/native.ts'

describe('measuring in rounds', () => {
  it('runs the engines in turn, twice each, and counts the second run of all rounds but the first', async () => {
    const log: string[] = []
    let running = 0
    const engine = (name: string, base: number) => async () => {
      expect(running++).toBe(0)
      await new Promise(resolve => setTimeout(resolve, 1))
      running--
      log.push(name)
      return base + log.length
    }
    const [a, b] = await inRounds([engine('A', 1000), engine('B', 2000)], 0.001)
    expect(log.join('')).toBe('AABB'.repeat(fewestRounds + 1))
    expect(a).toEqual([1006, 1010, 1014, 1018, 1022])
    expect(b).toEqual([2008, 2012, 2016, 2020, 2024])
  })

  it('runs for the given time', async () => {
    const run = vi.fn(async () => 1)
    const begin = performance.now()
    const [times] = await inRounds([run], 0.8)
    expect(performance.now() - begin).toBeGreaterThanOrEqual(800)
    expect(times!.length).toBeGreaterThan(fewestRounds)
  })
})

describe('the FMA peak', () => {
  it.each(loadNative().capabilities())('is measured with the vectors of %s', async isa => {
    const peak = await fmaPeak(isa, { threads: 1, precision: 'fp32' })
    expect(peak).toBeGreaterThan(0.5)
    expect(peak).toBeLessThan(1000) // of one thread: 512 bits, two units and 8 GHz would be 512
  })

  it.each([...loadNative().capabilities(), ''])(
    'is measured with what the kernels for fewer bits multiply with, with %j',
    async isa => {
      const inFp32 = await fmaPeak(isa, { threads: 1, precision: 'fp32' })
      const kernels = loadNative().reducedKernels!(isa)
      for (const precision of ['bf16', 'int8'] as const) {
        const peak = await fmaPeak(isa, { threads: 1, precision })
        expect(peak).toBeGreaterThan(0.5)
        expect(peak).toBeLessThan(50_000)
        if (kernels[precision] === 'amx') expect(peak).toBeGreaterThan(inFp32 * 3) // it is about 16 and 32 times as high
      }
    },
  )

  it('refuses an instruction set that the machine lacks', async () => {
    await expect(fmaPeak('mmx', { threads: 1, precision: 'fp32' })).rejects.toMatchObject({
      name: 'ResidualError',
      code: 'BACKEND_UNAVAILABLE',
    })
  })
})
