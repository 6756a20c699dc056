import { expect, it } from 'vitest'
import { quantizedValues, scalesOf } from '../../lib/quantize/quantized-values.ts'
import { tinyPlan } from '../support/tiny.ts'

it('values reach to the end of their range in as many steps as their type has', async () => {
  const seen = tinyPlan.ops.map(({ dst }, i) => {
    const { channels } = tinyPlan.values[dst]!
    const largest = i + 1
    return {
      pixels: 4,
      channelSums: new Float64Array(channels),
      channelSquares: new Float64Array(channels),
      channelMaxima: new Float32Array(channels).fill(largest),
      binWidth: largest / 4096,
      bins: new Float64Array(4096).fill(1),
    }
  })
  const values = await quantizedValues(tinyPlan, seen, 'max')
  const steps = { uint8: 255, int8: 127 }
  const types = new Set<string>()
  for (const [i, op] of tinyPlan.ops.entries()) {
    const value = values[op.name]
    if (!value || op.kind === 'normalize') continue
    expect(value.scale * steps[value.type]).toBeCloseTo(i + 1, 5)
    expect(value.type).toBe((op.kind === 'conv' && op.relu) || op.kind === 'globalAvgPool' ? 'uint8' : 'int8')
    expect(scalesOf(tinyPlan, values)[op.dst]).toBe(value.scale)
    types.add(value.type)
  }
  expect(types).toEqual(new Set(['uint8', 'int8']))
  expect(values.normalize).toEqual({ type: 'uint8', scale: 1 })
})
