import { describe, expect, it } from 'vitest'
import { Pauses } from '../../lib/base/pauses.ts'

/** Keeps this thread busy. */
function work(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

describe('pauses', () => {
  it('come after some milliseconds of work, and not before', async () => {
    let turns = 0
    const count = () => {
      turns++
      setImmediate(count).unref()
    }
    const pauses = new Pauses()
    setImmediate(count).unref()
    await pauses.take()
    expect(turns).toBe(0)
    for (let part = 1; part <= 3; part++) {
      work(11)
      await pauses.take()
      expect(turns).toBeGreaterThanOrEqual(part)
    }
  })
})
