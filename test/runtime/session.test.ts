import { runInNewContext } from 'node:vm'
import { describe, expect, it, vi } from 'vitest'
import {
  convBN,
  createSession,
  globalAvgPool,
  initialise,
  input,
  linear,
  lower,
  type Plan,
  parametersOf,
  ResidualError,
  resnet,
} from '../../lib/index.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { fromTensors } from '../../lib/weights/source.ts'
import { relativeError } from '../support/golden.ts'
import { runNaively } from '../support/naive.ts'
import { tinyBytes, tinyInput, tinyNetwork, tinyPlan, tinyShape, tinyWeights } from '../support/tiny.ts'

const create = (options = {}) =>
  createSession(tinyPlan, tinyWeights, { device: 'cpu', threads: 2, ...options })
const coded = (code: string) => expect.objectContaining({ name: 'ResidualError', code })

describe('createSession', () => {
  it('reports its device', async () => {
    await using session = await create()
    const isa = loadNative().capabilities()[0]
    expect(session.device).toEqual({ kind: 'cpu', isa, threads: 2, precision: 'fp32' })
  })

  it('refuses a device that does not exist', async () => {
    await expect(create({ device: 'tpu' })).rejects.toThrow(RangeError)
  })

  it('accepts a lower instruction set, and names the available ones when it refuses another', async () => {
    vi.stubEnv('RESIDUAL_CPU_ISA', 'baseline')
    await using session = await create()
    expect(session.device).toMatchObject({ isa: 'baseline' })
    vi.stubEnv('RESIDUAL_CPU_ISA', 'mmx')
    const error = await create().catch(e => e)
    expect(error).toEqual(coded('BACKEND_UNAVAILABLE'))
    expect(error.message).toMatch(/'mmx'.*baseline/)
    vi.unstubAllEnvs()
  })

  it.each([
    { threads: 0 },
    { threads: 1.5 },
    { threads: 100_000 },
    { maxBatch: 0 },
    { deviceIndex: -1 },
    { precision: 'fp8' },
    { batchSizes: [0] },
    { batchSizes: [1, 2.5] },
  ])('refuses %o', async options => {
    await expect(create(options)).rejects.toThrow(RangeError)
  })

  it('passes on errors in the weights', async () => {
    await expect(createSession(tinyPlan, fromTensors(new Map()))).rejects.toEqual(coded('TENSOR_NOT_FOUND'))
  })

  const broken = (change: (plan: { values: unknown[]; ops: Record<string, unknown>[] }) => void) => {
    const plan = structuredClone(tinyPlan) as unknown as { values: unknown[]; ops: Record<string, unknown>[] }
    change(plan)
    return plan as unknown as Plan
  }
  it.each<[string, Plan, RegExp]>([
    ['a value that does not exist', broken(p => Object.assign(p.ops[1]!, { src: 99 })), /reads value 99/],
    [
      'a value not yet written',
      broken(p => Object.assign(p.ops[1]!, { src: 3 })),
      /no earlier operation wrote/,
    ],
    ['a value written twice', broken(p => Object.assign(p.ops[2]!, { dst: 0 })), /already been written/],
    ['a wrong shape', broken(p => Object.assign(p.ops[1]!, { stride: 3 })), /where .* is expected/],
    ['no stride', broken(p => Object.assign(p.ops[1]!, { stride: 0 })), /stride 0/],
    [
      'groups that do not divide',
      broken(p => Object.assign(p.ops[1]!, { groups: 2 })),
      /groups that do not divide/,
    ],
    ['an unknown kind', broken(p => Object.assign(p.ops[1]!, { kind: 'lstm' })), /unknown kind 'lstm'/],
    ['a fraction', broken(p => Object.assign(p.ops[1]!, { kernel: 1.5 })), /kernel must be an integer/],
    ['no normalize', broken(p => p.ops.shift()), /must begin with a 'normalize'/],
    ['too few means', broken(p => Object.assign(p.ops[0]!, { mean: [0] })), /a mean per channel/],
    [
      'a huge value',
      broken(p => Object.assign(p.values[0]!, { height: 1 << 20, width: 1 << 20 })),
      /too large|is expected/,
    ],
    [
      'so many weights that their number wraps to 0',
      broken(p => {
        const [normalize, conv] = p.ops
        const channels = 4096
        const values = [0, 1].map(() => ({ height: 1, width: 1, channels }))
        const [mean, std] = [new Array(channels).fill(0), new Array(channels).fill(1)]
        const window = { kernel: 2 ** 20, stride: 2 ** 20, padding: 2 ** 19 }
        const ops = [
          { ...normalize, dst: 0, mean, std },
          { ...conv, src: 0, dst: 1, ...window },
        ]
        Object.assign(p, { values, ops, outputs: { logits: 1 } })
      }),
      /too many weights/,
    ],
    ['no operations', broken(p => p.ops.splice(0)), /must begin with/],
  ])('refuses a plan with %s', async (_, plan, message) => {
    const error = await createSession(plan, tinyWeights).catch(e => e)
    expect(error).toEqual(coded('PLAN_INVALID'))
    expect(error.message).toMatch(message)
  })
})

describe('run', () => {
  it('normalises bytes on the device', async () => {
    await using session = await create()
    const bytes = tinyBytes(2)
    const { mean, std } = tinyPlan.ops[0] as unknown as { mean: number[]; std: number[] }
    const floats = Float32Array.from(bytes, (byte, i) => (byte / 255 - mean[i % 3]!) / std[i % 3]!)
    const expected = await runNaively(tinyNetwork, tinyWeights, floats, tinyShape)
    expect(relativeError((await session.run(bytes)).logits, expected.logits)).toBeLessThan(1e-5)
  })

  it('returns the requested outputs and nothing else', async () => {
    await using session = await create()
    const all = await session.run(tinyInput(2), {
      outputs: ['logits', 'probabilities', 'features', 'featureMaps'],
    })
    const lengths = Object.fromEntries(Object.entries(all).map(([name, data]) => [name, data.length]))
    expect(lengths).toEqual({ logits: 8, probabilities: 8, features: 64, featureMaps: 2 * 4 * 4 * 32 })
    expect(Object.keys(await session.run(tinyInput(1)))).toEqual(['logits', 'features'])
    expect(Object.keys(await session.run(tinyInput(1), { outputs: ['probabilities'] }))).toEqual([
      'probabilities',
    ])
    for (const row of [all.probabilities.subarray(0, 4), all.probabilities.subarray(4)]) {
      expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 6)
    }
  })

  it.each([1, 2, 3, 5])('gives each image the same bits in batches of %i as alone', async maxBatch => {
    await using session = await create({ maxBatch })
    const count = 7
    const bytes = tinyBytes(count)
    const together = await session.run(bytes)
    for (let i = 0; i < count; i++) {
      const alone = await session.run(
        bytes.subarray((i * bytes.length) / count, ((i + 1) * bytes.length) / count),
      )
      expect(together.logits.subarray(i * 4, (i + 1) * 4)).toEqual(alone.logits)
      expect(together.features.subarray(i * 32, (i + 1) * 32)).toEqual(alone.features)
    }
  })

  // At this size the levels of the network take 4 to 64 images at a time, and values pass from one level to the next.
  it('gives each image the same bits, whatever it shares a slice with', async () => {
    const network = resnet({ layers: 50, width: 0.25, classes: 10 })
    const plan = lower(network, { height: 224, width: 224, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] })
    const weights = initialise(parametersOf(network), 3)
    await using session = await createSession(plan, weights, { device: 'cpu', threads: 1 })
    const outputs = ['logits', 'features', 'featureMaps'] as const
    const image = 224 * 224 * 3
    const bytes = Uint8Array.from({ length: 11 * image }, (_, i) => (i * 37 + (i >> 7) * 11) % 256)
    const together = await session.run(bytes, { outputs: [...outputs] })
    for (const i of [0, 5, 10]) {
      const own = bytes.subarray(i * image, (i + 1) * image)
      const alone = await session.run(own, { outputs: [...outputs] })
      for (const name of outputs) {
        const { length } = alone[name]
        const shared = Buffer.from(together[name].buffer, i * length * 4, length * 4)
        expect(Buffer.from(alone[name].buffer).equals(shared), `${name} of image ${i}`).toBe(true)
      }
    }
  })

  // What smaller batches need of the workspace is not less everywhere. An image of one patch, few channels: the worst case.
  it('has room for a smaller batch after a larger one, on every instruction set', async () => {
    const names = (i: number) => ({ conv: `conv${i}`, bn: `bn${i}` })
    const x = convBN(convBN(input(), { names: names(0), channels: 8, kernel: 1 }), {
      names: names(1),
      channels: 8,
      kernel: 3,
    })
    const features = globalAvgPool(x)
    const logits = linear(features, { name: 'fc', classes: 3 })
    const network = { name: 'patch', graph: x.graph, outputs: { logits, features, featureMaps: x } }
    const plan = lower(network, { height: 4, width: 4, mean: [0, 0, 0], std: [1, 1, 1] })
    for (const isa of loadNative().capabilities()) {
      vi.stubEnv('RESIDUAL_CPU_ISA', isa)
      await using session = await createSession(plan, initialise(parametersOf(network), 1), { threads: 1 })
      const pixels = tinyBytes(1).subarray(0, 2 * 4 * 4 * 3)
      const two = await session.run(pixels)
      const one = await session.run(pixels.subarray(0, 4 * 4 * 3))
      expect(one.logits).toEqual(two.logits.subarray(0, 3))
    }
    vi.unstubAllEnvs()
  })

  it('keeps concurrent runs apart', async () => {
    await using session = await create()
    const inputs = Array.from({ length: 20 }, (_, i) => tinyInput(1 + (i % 5)).map(value => value * (i + 1)))
    const expected = []
    for (const input of inputs) expected.push((await session.run(input)).logits)
    const actual = await Promise.all(inputs.map(input => session.run(input)))
    expect(actual.map(({ logits }) => logits)).toEqual(expected)
  })

  it('works after a failed run', async () => {
    await using session = await create()
    const detached = tinyBytes(1)
    const first = session.run(tinyBytes(1))
    const failing = session.run(detached)
    structuredClone(detached, { transfer: [detached.buffer] }) // while it waits for the first
    await expect(failing).rejects.toThrow(RangeError)
    expect((await session.run(tinyBytes(1))).logits).toEqual((await first).logits)
  })

  it('is not affected if a buffer changes or goes away once the run has begun', async () => {
    await using session = await create()
    const expected = (await session.run(tinyBytes(4))).logits
    const input = tinyBytes(4)
    const run = session.run(input)
    await Promise.resolve() // the run has begun
    structuredClone(input, { transfer: [input.buffer] })
    expect((await run).logits).toEqual(expected)
  })

  it('accepts pixels in shared memory', async () => {
    await using session = await create()
    const shared = new Uint8Array(new SharedArrayBuffer(tinyBytes(2).length))
    shared.set(tinyBytes(2))
    expect((await session.run(shared)).logits).toEqual((await session.run(tinyBytes(2))).logits)
  })

  it('is not affected by changes to shared memory, even behind a Buffer, or to `outputs`', async () => {
    await using session = await create()
    const expected = (await session.run(tinyBytes(2))).logits
    for (const view of [Uint8Array, Buffer]) {
      const memory = new SharedArrayBuffer(tinyBytes(2).length)
      const shared = view === Buffer ? Buffer.from(memory) : new Uint8Array(memory)
      shared.set(tinyBytes(2))
      const before = session.run(tinyBytes(1)) // for which it has to wait
      const outputs: ('logits' | 'features')[] = ['logits']
      const run = session.run(shared, { outputs })
      shared.fill(0)
      outputs.splice(0, 1, 'boxes' as 'logits')
      expect(await run).toEqual({ logits: expected })
      await before
    }
  })

  it('accepts arrays of another realm, and of subclasses with their own methods', async () => {
    await using session = await create()
    const expected = (await session.run(tinyBytes(2))).logits
    const other = runInNewContext('bytes => Uint8Array.from(bytes)')(tinyBytes(2)) as Uint8Array
    expect(other).not.toBeInstanceOf(Uint8Array)
    expect((await session.run(other)).logits).toEqual(expected)
    const shared = runInNewContext('new Uint8Array(new SharedArrayBuffer(384))') as Uint8Array
    shared.set(tinyBytes(2))
    const run = session.run(shared)
    shared.fill(0)
    expect((await run).logits).toEqual(expected)
    class Odd extends Uint8Array<ArrayBuffer> {
      override subarray() {
        return new Uint8Array(5)
      }
    }
    expect((await session.run(new Odd(tinyBytes(2).buffer))).logits).toEqual(expected)
  })

  it('refuses anything but a batch', async () => {
    await using session = await create()
    await expect(session.run([1, 2, 3] as unknown as Uint8Array)).rejects.toThrow(TypeError)
    await expect(session.run(new Float64Array(192) as unknown as Float32Array)).rejects.toThrow(TypeError)
    await expect(session.run(new Uint8Array(0))).rejects.toThrow(RangeError)
    await expect(session.run(new Uint8Array(193))).rejects.toThrow(
      'Expected a Uint8Array or Float32Array [N,8,8,3] for the input but received "193 elements"',
    )
    await expect(session.run(tinyBytes(1), { outputs: ['boxes' as 'logits'] })).rejects.toThrow(
      /one of logits/,
    )
    await expect(session.run(tinyBytes(1), { outputs: 'logits' as unknown as 'logits'[] })).rejects.toThrow(
      TypeError,
    )
  })
})

describe('profile', () => {
  it('reports the time of each operation, in the order of the plan', async () => {
    await using session = await create()
    const times = await session.profile(tinyBytes(3), { runs: 3 })
    expect(times.map(({ name, kind }) => ({ name, kind }))).toEqual(
      tinyPlan.ops.map(({ name, kind }) => ({ name, kind })),
    )
    for (const { name, kind, milliseconds } of times)
      if (kind === 'conv') expect(milliseconds, name).toBeGreaterThan(0)
  })

  it('adds up to the time of a run, over all parts of a batch', async () => {
    const plan = lower(resnet({ layers: 18 }), { height: 64, width: 64, mean: [0, 0, 0], std: [1, 1, 1] })
    const weights = initialise(parametersOf(resnet({ layers: 18 })), 1)
    await using session = await createSession(plan, weights, { device: 'cpu', threads: 1, maxBatch: 2 })
    const runs = 10
    const profile = async (batch: number) => {
      const begin = performance.now()
      const times = await session.profile(new Uint8Array(batch * 64 * 64 * 3), { runs })
      const sum = times.reduce((total, { milliseconds }) => total + milliseconds, 0)
      return { sum, elapsed: performance.now() - begin }
    }
    const one = await profile(2)
    const eight = await profile(16)
    // One thread cannot spend more than all of the time in its operations, and half of the runs take the median or more.
    expect((runs / 2) * eight.sum).toBeLessThanOrEqual(eight.elapsed)
    // Eight parts take eight times as long as one, give or take what else this machine does.
    expect(eight.sum).toBeGreaterThan(3 * one.sum)
  })

  it('does not disturb runs in flight', async () => {
    await using session = await create()
    const expected = await session.run(tinyBytes(3))
    const [before, , after] = await Promise.all([
      session.run(tinyBytes(3)),
      session.profile(tinyBytes(2)),
      session.run(tinyBytes(3)),
    ])
    expect([before, after]).toEqual([expected, expected])
  })

  it('refuses what it does not support', async () => {
    const session = await create()
    await expect(session.profile(tinyBytes(1), { runs: 0 })).rejects.toThrow(RangeError)
    await expect(session.profile(new Uint8Array(193))).rejects.toThrow(RangeError)
    await session.dispose()
    await expect(session.profile(tinyBytes(1))).rejects.toEqual(coded('SESSION_CLOSED'))
  })
})

describe('dispose', () => {
  it('lets runs in flight finish, refuses later ones, and may be called twice', async () => {
    const session = await create()
    const runs = [session.run(tinyBytes(3)), session.run(tinyBytes(1))]
    const closed = session.dispose()
    expect(session.dispose()).toBe(closed)
    await expect(session.run(tinyBytes(1))).rejects.toEqual(coded('SESSION_CLOSED'))
    expect((await Promise.all(runs)).map(({ logits }) => logits.length)).toEqual([12, 4])
    await closed
    await expect(session.run(tinyBytes(1))).rejects.toBeInstanceOf(ResidualError)
  })
})
