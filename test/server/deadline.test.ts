import { stat } from 'node:fs/promises'
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { within } from '../../lib/server/limits/deadline.ts'

const client = new AbortController().signal
const coded = expect.objectContaining({ code: 'DEADLINE_EXCEEDED' })

/** Settles as soon as its signal is aborted, as all that waits for something in the server does. */
const unless = <T>(signal: AbortSignal, work: Promise<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason))
    work.then(resolve, reject)
  })

it('a deadline ends what is not done, and a shortened one ends it sooner', async () => {
  await expect(
    within(20, client, ({ signal }) => unless(signal, delay(5000, '', { signal }))),
  ).rejects.toEqual(coded)
  const never = 600_000 // ms: longer than this test may take
  const shortened = within(never, client, ({ signal, shorten }) => {
    shorten(20)
    return unless(signal, delay(never, '', { signal }))
  })
  await expect(shortened).rejects.toEqual(coded)
})

it('a deadline that passed while the process was stopped does not discard finished work', async () => {
  await turn() // after which timers are next
  const done = within(50, client, ({ signal }) => {
    const work = stat('.') // on another thread
    const end = performance.now() + 200
    while (performance.now() < end); // nothing of ours runs
    return unless(signal, work)
  })
  expect((await done).isDirectory()).toBe(true)
})
