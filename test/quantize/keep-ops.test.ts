import { describe, expect, it, vi } from 'vitest'
import { lower, resnet } from '../../lib/index.ts'
import { chooseKept } from '../../lib/quantize/keep-ops.ts'

const network = resnet({ layers: 18, classes: 10 })
const plan = lower(network, { height: 32, width: 32, mean: [0, 0, 0], std: [1, 1, 1] })
const harms: { readonly [name: string]: number } = { 'layer1.0.conv1': 0.2, fc: 0.3, 'layer4.1.conv2': 0.1 }
const harmOf = (kept: readonly string[]) => kept.reduce((sum, name) => sum + (harms[name] ?? 0.001), 0)

/** A network of which each operation takes off the agreement what it harms. */
function trials() {
  return {
    error: vi.fn(async (kept: readonly string[]) => 1 - harmOf(kept)),
    agreement: vi.fn(async (kept: readonly string[]) => 0.4 + harmOf(kept)),
  }
}
const ignore = () => {}

describe('the operations that are kept', () => {
  it('are none if the agreement is reached without', async () => {
    const its = trials()
    expect(await chooseKept(plan, { agreement: 0.4, worth: 2 }, its, ignore)).toEqual({
      kept: [],
      agreement: 0.4,
    })
    expect(its.error).not.toHaveBeenCalled()
  })

  it('are the fewest that reach it, those that hurt most first', async () => {
    for (const [agreement, names] of [
      [0.5, ['fc']],
      [0.7, ['fc']],
      [0.8, ['fc', 'layer1.0.conv1']],
      [0.95, ['fc', 'layer1.0.conv1', 'layer4.1.conv2']],
    ] as const) {
      const choice = await chooseKept(plan, { agreement: agreement - 1e-9, worth: null }, trials(), ignore)
      expect(choice.kept.map(({ name }) => name)).toEqual(names)
      expect(choice.agreement).toBeCloseTo(0.4 + harmOf(names), 9)
    }
  })

  it('are all of them if nothing less will do', async () => {
    const choice = await chooseKept(plan, { agreement: 1.5, worth: null }, trials(), ignore)
    expect(choice.kept).toHaveLength(21)
    expect(choice.agreement).toBeLessThan(1.1)
    expect(choice.kept.reduce((sum, { cost }) => sum + cost, 0)).toBeCloseTo(1, 9)
  })

  it('are only those that are worth their time, unless the agreement was asked for', async () => {
    const choice = await chooseKept(plan, { agreement: 1, worth: 2 }, trials(), ignore)
    expect(choice.kept.map(({ name }) => name)).toContain('fc')
    expect(choice.kept.length).toBeLessThan(6)
    for (const { saves, cost } of choice.kept) expect(saves).toBeGreaterThanOrEqual(2 * cost)
    expect(choice.kept.reduce((sum, { cost }) => sum + cost, 0)).toBeLessThanOrEqual(0.1)
    const none = await chooseKept(plan, { agreement: 1, worth: 1e6 }, trials(), ignore)
    expect(none).toEqual({ kept: [], agreement: 0.4 })
  })

  it('are tried one by one, and then by doubling and halving', async () => {
    const its = trials()
    const told: number[] = []
    await chooseKept(plan, { agreement: 1.014, worth: null }, its, done => told.push(done))
    expect(told).toEqual(Array.from({ length: 21 }, (_, i) => i + 1))
    expect(its.error).toHaveBeenCalledTimes(22)
    expect(its.agreement.mock.calls.length).toBeLessThan(12)
  })
})
