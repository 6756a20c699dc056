import { expect, it } from 'vitest'
import { Turns } from '../../lib/runtime/turns.ts'

it('Turns are taken in order, so many at a time, and given on by what fails as well', async () => {
  const turns = new Turns(2)
  const begun: number[] = []
  const ends: (() => void)[] = []
  const all = Array.from({ length: 6 }, (_, i) =>
    turns.take(async () => {
      begun.push(i)
      await new Promise<void>(resolve => {
        ends[i] = resolve
      })
      if (i === 1) throw new Error('failed')
      return i
    }),
  )
  const failed = expect(all[1]).rejects.toThrow('failed')
  expect(begun).toEqual([])
  await Promise.resolve()
  expect(begun).toEqual([0, 1])
  for (const [i, expected] of [
    [1, [0, 1, 2]],
    [2, [0, 1, 2, 3]], // 0 is still under way and keeps nobody but itself
    [3, [0, 1, 2, 3, 4]],
    [0, [0, 1, 2, 3, 4, 5]],
  ] as const) {
    ends[i]!()
    await new Promise(setImmediate)
    expect(begun).toEqual(expected)
  }
  for (const i of [4, 5]) ends[i]!()
  await failed
  expect(await Promise.all(all.toSpliced(1, 1))).toEqual([0, 2, 3, 4, 5])
  expect(await turns.take(async () => 'again')).toBe('again')
})

it('Hundreds of thousands that wait are as fast as a few', async () => {
  const turns = new Turns(1)
  let ended = 0
  const all = Array.from({ length: 300_000 }, () => turns.take(async () => ended++))
  await Promise.all(all)
  expect(ended).toBe(300_000)
}, 30_000)
