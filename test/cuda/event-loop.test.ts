// Opening and compiling take seconds to minutes. Neither holds up the event loop, or runs that need nothing of it.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession } from '../../lib/index.ts'
import { loadWeights } from '../../lib/runtime/load-weights.ts'
import { loadCuda, type NativeSession } from '../../lib/runtime/native.ts'
import { temporaryFolder } from '../support/files.ts'
import { tinyBytes, tinyPlan, tinyWeights } from '../support/tiny.ts'
import { memoryReturned, noTwin, useTwin } from '../support/twin.ts'

const folder = temporaryFolder()
const [log, hold] = [join(folder, 'log'), join(folder, 'hold')]
const stop = () => writeFileSync(hold, '')
const goOn = () => rmSync(hold, { force: true })
const done = (what: string) =>
  readFileSync(log, 'utf8')
    .split('\n')
    .filter(line => line === what).length

/** fp32, as cuDNN need not compile most of its plans. */
const options = () =>
  ({ ...useTwin({ log, hold }), precision: 'fp32', batchSizes: [1, 2, 3], planCache: null }) as const

beforeEach(() => writeFileSync(log, ''))
afterEach(async () => {
  goOn()
  vi.unstubAllEnvs()
})

describe.skipIf(noTwin)('while a GPU is opened', () => {
  it('the event loop goes on: libraries and device are opened by another thread', async () => {
    vi.resetModules() // so that nothing is open
    const { createSession } = await import('../../lib/index.ts')
    for (let time = 0; time < 2; time++) {
      stop() // the libraries at first, and then the device
      const opening = createSession(tinyPlan, tinyWeights, options())
      await setTimeout(20)
      expect(done('device opened')).toBe(time)
      goOn()
      await using session = await opening
      expect(done('device opened')).toBe(time + 1)
      expect(session.device.kind).toBe('cuda')
    }
  })

  it('two sessions that are created at once open the libraries once, and both work', async () => {
    const [a, b] = await Promise.all([1, 2].map(() => createSession(tinyPlan, tinyWeights, options())))
    expect(await a!.run(tinyBytes(1))).toEqual(await b!.run(tinyBytes(1)))
    await Promise.all([a!.dispose(), b!.dispose()])
    await memoryReturned()
  })
})

describe.skipIf(noTwin)('while a batch size is compiled', () => {
  it('runs of a size that is ready go on, and those that wait for the same size have it compiled once', async () => {
    await using session = await createSession(tinyPlan, tinyWeights, options())
    const expected = await session.run(tinyBytes(1))
    const plans = done('plan built')
    expect(plans).toBeGreaterThan(3)
    stop()
    let ended = 0
    const waiting = [2, 2, 3, 2].map(async images => {
      const result = await session.run(tinyBytes(images))
      ended++
      return result.logits
    })
    // More than there are turns: none of those that wait for the compiler has one.
    for (const run of [1, 2, 3, 4].map(() => session.run(tinyBytes(1)))) expect(await run).toEqual(expected)
    expect(ended).toBe(0)
    goOn()
    const [first, second, larger, last] = await Promise.all(waiting)
    expect([second, last]).toEqual([first, first])
    expect(larger!.subarray(0, 8)).toEqual(first)
    expect(done('plan built')).toBe(3 * plans)
  })

  it('neither waits for the other within the addon either', async () => {
    const { planCache: _, device: __, batchSizes, precision } = options()
    const addon = loadCuda()
    const native: NativeSession = await addon.NativeSession.open(tinyPlan, { batchSizes, precision })
    await loadWeights(tinyPlan, tinyWeights, native, 1)
    const run = (images: number) => native.run(tinyBytes(images), ['logits'])
    const expected = await run(1)
    const plans = done('plan built')
    stop()
    let ended = 0
    const waiting = [run(2), run(2)].map(result => result.finally(() => ended++))
    await setTimeout(20) // both are with the addon
    expect(await run(1)).toEqual(expected)
    expect(ended).toBe(0)
    goOn()
    const [first, second] = await Promise.all(waiting)
    expect(second).toEqual(first)
    expect(done('plan built')).toBe(2 * plans)
    native.dispose()
    await memoryReturned()
  })

  it('the session is closed once that is over', async () => {
    const session = await createSession(tinyPlan, tinyWeights, options())
    stop()
    const run = session.run(tinyBytes(2))
    const closed = session.dispose()
    let isClosed = false
    closed.then(() => {
      isClosed = true
    })
    await setTimeout(20)
    expect(isClosed).toBe(false)
    goOn()
    expect((await run).logits).toHaveLength(8)
    await closed
    await memoryReturned()
  })

  it('a failure is that of all who wait for the size, and the next one tries again', async () => {
    const create = (n: number) => {
      const all = { ...options(), batchSizes: [2] }
      useTwin({ log, hold, faults: `allocate:${n}` })
      return createSession(tinyPlan, tinyWeights, all).catch(() => null)
    }
    let n = 1
    let opened = await create(n)
    while (!opened) opened = await create(++n) // the first that is not for weights is for the arena
    expect(n).toBeGreaterThan(5)
    await using session = opened
    stop()
    const runs = [1, 2, 2].map(images => session.run(tinyBytes(images)).catch(error => error.code))
    await setTimeout(20)
    goOn()
    expect(await Promise.all(runs)).toEqual(Array(3).fill('OUT_OF_MEMORY'))
    expect((await session.run(tinyBytes(2))).logits).toHaveLength(8)
  })
})
