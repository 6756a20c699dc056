import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { globalAvgPool, input, linear, lower } from '../../lib/index.ts'
import { leastStd, mostMean, mostStd } from '../../lib/model/normalization.ts'

const pooled = globalAvgPool(input())
const logits = linear(pooled, { name: 'fc', classes: 2 })
const network = { name: 'n', graph: pooled.graph, outputs: { logits, features: pooled } }
const lowered = (changes: object) =>
  lower(network, { height: 8, width: 8, mean: [0, 0, 0], std: [1, 1, 1], ...changes })

describe('the normalisation of a plan', () => {
  it.each([0, -1, 1e-320, 1e-7, 1e7, Number.NaN, Number.POSITIVE_INFINITY])('refuses a std of %s', value => {
    expect(() => lowered({ std: [1, value, 1] })).toThrow(
      new RangeError(`Expected numbers from 0.000001 to 1000000 for std but received ${value}`),
    )
  })

  it.each([1e300, -1e7, Number.NaN])('refuses a mean of %s', value => {
    expect(() => lowered({ mean: [0, 0, value] })).toThrow(RangeError)
  })

  it('has a number for each channel', () => {
    expect(() => lowered({ mean: [0] })).toThrow('Expected 3 numbers for mean but received 1')
    for (const mean of [0.5, null, new Float32Array(3), { length: 3 }, ['0', '0', '0']])
      expect(() => lowered({ mean })).toThrow(TypeError)
  })

  it('may be at the limits, and does not follow later changes to its arrays', () => {
    const [mean, std] = [
      [-mostMean, 0, mostMean],
      [leastStd, 1, mostStd],
    ]
    const { ops } = lowered({ mean, std })
    mean.fill(7)
    std.fill(0)
    expect(ops[0]).toMatchObject({ mean: [-mostMean, 0, mostMean], std: [leastStd, 1, mostStd] })
  })

  it('has the same limits as in C++', () => {
    const header = readFileSync(join(packageRoot, 'native', 'core', 'ops.h'), 'utf8')
    const limit = (name: string) => Number(header.match(new RegExp(`${name} = ([\\de.-]+)f`))![1])
    expect([limit('kLeastStd'), limit('kMostStd'), limit('kMostMean')]).toEqual([leastStd, mostStd, mostMean])
  })
})
