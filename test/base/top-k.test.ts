import { describe, expect, it } from 'vitest'
import { topIndices } from '../../lib/base/top-k.ts'
import { seeded } from '../support/files.ts'

/** By sorting all of them. */
const sorted = (values: Float32Array, count: number) =>
  Array.from(values.keys())
    .sort((a, b) => values[b]! - values[a]! || a - b)
    .slice(0, count)

describe('the largest values', () => {
  it('are those that sort first, with ties in order', () => {
    const random = seeded(5)
    for (const length of [1, 2, 3, 10, 257, 1000])
      for (const distinct of [1, 3, 50, 1e6]) {
        const values = Float32Array.from({ length }, () => Math.floor(random() * distinct))
        for (const count of [1, 2, 5, length - 1, length, length + 3])
          if (count > 0) expect(topIndices(values, count)).toEqual(sorted(values, count))
      }
  })

  it('are found with fewer comparisons than sorting', () => {
    const values = Float32Array.from({ length: 20_000 }, (_, i) => (i * 7919) % 20_011)
    let reads = 0
    const counted = new Proxy(values, {
      get(target, name) {
        if (typeof name === 'string' && /^\d+$/.test(name)) reads++
        return Reflect.get(target, name)
      },
    })
    expect(topIndices(counted, 5)).toEqual(sorted(values, 5))
    expect(reads).toBeLessThan(6 * values.length)
  })
})
