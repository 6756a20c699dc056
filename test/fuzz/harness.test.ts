import { describe, expect, it } from 'vitest'
import { ResidualError } from '../../lib/index.ts'
import { type FuzzTarget, fuzz } from './harness.ts'

const target = (open: (bytes: Buffer) => unknown): FuzzTarget => {
  let first = true // the seed itself has to be taken
  return {
    name: 'made up',
    seeds: async () => [Buffer.from('a seed of a few bytes')],
    open: async bytes => {
      if (!first) open(bytes)
      first = false
    },
  }
}

const problems = async (open: (bytes: Buffer) => unknown, files = 1) =>
  (await fuzz(target(open), files)).failures.map(({ problem }) => problem)

describe('The fuzzer', () => {
  it('catches uncoded errors, large allocations and slow reads', async () => {
    expect(await problems(() => undefined, 20)).toEqual([])
    expect(
      await problems(() => {
        throw new ResidualError('CHECKPOINT_INVALID', 'bad')
      }),
    ).toEqual([])
    expect(
      await problems(() => {
        throw new RangeError('offset')
      }),
    ).toEqual([expect.stringContaining('threw RangeError: offset')])
    expect(await problems(() => new Float32Array(1 << 23))).toEqual([
      expect.stringContaining('asked for 33554432 bytes'),
    ])
    expect(await problems(() => Buffer.alloc(1 << 25))).toEqual([
      expect.stringContaining('asked for 33554432 bytes'),
    ])
    const late = () => {
      const before = process.cpuUsage()
      for (let ms = 0; ms < 1100; ) {
        const { user, system } = process.cpuUsage(before)
        ms = (user + system) / 1000
      }
    }
    expect(await problems(late)).toEqual([expect.stringMatching(/took 1\d\d\d ms/)])
  })

  it('makes the same damage for the same seed', async () => {
    const seen = async (seed: number) => {
      const all: string[] = []
      await fuzz(
        target(bytes => all.push(bytes.toString('hex'))),
        50,
        seed,
      )
      return all
    }
    expect(await seen(1)).toEqual(await seen(1))
    expect(await seen(1)).not.toEqual(await seen(2))
  })
})
