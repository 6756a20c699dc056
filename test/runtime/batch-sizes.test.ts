import { expect, it } from 'vitest'
import { BatchSizes } from '../../lib/runtime/batch-sizes.ts'

/** What compiling is asked for, each of which ends when it is told to. */
function watched(sizes: readonly number[]) {
  const asked: number[] = []
  const ends: ((error?: Error) => void)[] = []
  const compile = (size: number) =>
    new Promise<void>((resolve, reject) => {
      asked.push(size)
      ends.push(error => (error ? reject(error) : resolve()))
    })
  const end = async (error?: Error) => {
    await new Promise(setImmediate)
    ends.shift()!(error)
    await new Promise(setImmediate)
  }
  return { all: new BatchSizes(sizes, compile), asked, end }
}

it.each([
  [1, [2]],
  [2, [2]],
  [3, [4]],
  [7, [7]],
  [8, [7, 2]],
  [14, [7]],
  [70, [7]],
  [74, [7, 4]],
])('A batch of %i takes sizes %j', async (images, expected) => {
  const { all, asked, end } = watched([2, 4, 7])
  const missing = all.missing(images)
  for (const _ of expected) await end()
  await missing
  expect(asked).toEqual(expected)
  expect(all.missing(images)).toBeUndefined()
})

it('Nothing is missing where nothing is compiled', () => {
  expect(watched([]).all.missing(5)).toBeUndefined()
})

it('A size is compiled once, one at a time, and after a failure again', async () => {
  const { all, asked, end } = watched([1, 4])
  const first = [all.missing(4), all.missing(3), all.missing(1)]
  const failed = first.slice(0, 2).map(each => expect(each).rejects.toThrow('no room'))
  await new Promise(setImmediate)
  expect(asked).toEqual([4])
  await end(new Error('no room'))
  await Promise.all(failed)
  expect(asked).toEqual([4, 1])
  const second = all.missing(4)
  await end()
  await first[2]
  expect(asked).toEqual([4, 1, 4])
  await end()
  await second
  expect(all.missing(5)).toBeUndefined()
})
