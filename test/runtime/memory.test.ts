import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import {
  createSession,
  fromTensors,
  lower,
  type Network,
  parametersOf,
  resnet18,
  type Session,
  type Tensor,
} from '../../lib/index.ts'
import { initialise } from '../../lib/weights/init.ts'
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

/** What the process holds more after `work` than before it, in bytes. */
async function growth(work: () => Promise<void>): Promise<number> {
  const before = await residentBytes()
  await work()
  return (await residentBytes()) - before
}

const plan = lower(resnet18({ classes: 10 }), { height: 64, width: 64, mean: [0, 0, 0], std: [1, 1, 1] })
const weights = fromTensors(await tensorsOf(resnet18({ classes: 10 }))) // 45 MiB
const open = () => createSession(plan, weights, { threads: 3 })

/** The tensors of a network with random weights, read once. */
async function tensorsOf(network: Network): Promise<Map<string, Tensor>> {
  const source = initialise(parametersOf(network), 1)
  const tensors = new Map<string, Tensor>()
  for (const name of source.names())
    tensors.set(name, { shape: source.shape(name)!, data: await source.read(name) })
  return tensors
}

it('stays flat over 2,000 runs', async () => {
  await using session = await createSession(tinyPlan, tinyWeights, { threads: 2 })
  const inputs = [1, 20, 33, 64].map(tinyBytes)
  const kept: Float32Array[] = []
  const run = async (count: number, keep: boolean) => {
    for (let i = 0; i < count; i++) {
      const { featureMaps } = await session.run(inputs[i % inputs.length]!, { outputs: ['featureMaps'] })
      if (keep) kept.push(featureMaps)
    }
  }
  await run(2000, false) // until the allocator has all it ever needs
  const flat = await growth(() => run(2000, false))
  const leaked = await growth(() => run(2000, true)) // what it would be if outputs were not given back
  expect(kept.length).toBe(2000)
  expect(leaked).toBeGreaterThan(50 * mebibyte)
  expect(flat).toBeLessThan(leaked / 3)
})

describe('the memory of a session', () => {
  // What sessions take that are kept is measured in the same process: what is not given back must stay far below.
  const count = 8
  let kept = 0 // bytes that so many sessions take
  const sessions: Session[] = []

  it('is weights and activations while it is open', async () => {
    await (await open()).dispose()
    kept = await growth(async () => {
      for (let i = 0; i < count; i++) {
        const session = await open()
        await session.run(new Uint8Array(64 * 64 * 3))
        sessions.push(session)
      }
    })
    expect(kept).toBeGreaterThan(count * 40 * mebibyte)
    expect(
      await growth(async () => void (await Promise.all(sessions.map(each => each.dispose())))),
    ).toBeLessThan(-kept / 2)
  })

  it('is freed by sessions that are created and disposed of, threads included', async () => {
    const lost = await growth(async () => {
      for (let i = 0; i < 5 * count; i++) {
        const session = await open()
        await session.run(new Uint8Array(64 * 64 * 3))
        await session.dispose()
      }
    })
    expect(lost).toBeLessThan(kept / 4) // one session in twenty
  }, 300_000)

  it('is freed by sessions that were dropped rather than disposed of', async () => {
    const lost = await growth(async () => {
      for (let i = 0; i < count; i++) await open()
    })
    expect(lost).toBeLessThan(kept / 2)
  })
})
