import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { createSession, lower, parametersOf, resnet18 } from '../../lib/index.ts'
import { initialise } from '../../lib/weights/init.ts'
import { goldenWeights } from '../support/golden.ts'
import { tinyBytes, tinyPlan, tinyWeights } from '../support/tiny.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void
const mebibyte = 2 ** 20

/** Lets everything that is garbage go, finalizers and freed buffers included. */
async function settle(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    collectGarbage()
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

async function residentBytes(): Promise<number> {
  await settle()
  return process.memoryUsage.rss()
}

it('stays flat over 2,000 runs', async () => {
  await using session = await createSession(tinyPlan, tinyWeights, { threads: 2 })
  const inputs = [1, 20, 33, 64].map(tinyBytes)
  const run = async (count: number) => {
    for (let i = 0; i < count; i++)
      await session.run(inputs[i % inputs.length]!, { outputs: ['featureMaps'] })
  }
  await run(2000) // until the allocator has all it ever needs
  const before = await residentBytes()
  await run(2000)
  // Leaked outputs would be 115 MiB; the allocator's moods are a few.
  expect((await residentBytes()) - before).toBeLessThan(30 * mebibyte)
})

it('is given back by 100 sessions created and disposed of, threads included', async () => {
  const network = resnet18({ width: 0.5, classes: 10 }) // 11 MiB of weights
  const plan = lower(network, { height: 64, width: 64, mean: [0, 0, 0], std: [1, 1, 1] })
  const weights = goldenWeights(network)
  const kept = new Map<string, Float32Array>()
  for (const name of weights.names()) kept.set(name, await weights.read(name))
  const source = { ...weights, read: async (name: string) => kept.get(name)!.slice() }
  const cycle = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const session = await createSession(plan, source, { threads: 3 })
      await session.run(new Uint8Array(64 * 64 * 3))
      await session.dispose()
    }
  }
  await cycle(10)
  const before = await residentBytes()
  await cycle(100)
  expect((await residentBytes()) - before).toBeLessThan(110 * mebibyte) // ten sessions' worth
}, 300_000)

it('is given back by sessions that were forgotten rather than disposed of', async () => {
  const network = resnet18({ classes: 10 }) // 45 MiB of weights
  const plan = lower(network, { height: 64, width: 64, mean: [0, 0, 0], std: [1, 1, 1] })
  const forget = async (count: number) => {
    for (let i = 0; i < count; i++) await createSession(plan, initialise(parametersOf(network), i))
  }
  await forget(2)
  const before = await residentBytes()
  await forget(8)
  expect((await residentBytes()) - before).toBeLessThan(180 * mebibyte) // four of eight
})
