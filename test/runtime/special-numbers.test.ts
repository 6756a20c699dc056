import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { createSession, fromTensors, lower, type Network, type WeightSource } from '../../lib/index.ts'
import type { Value } from '../../lib/model/graph.ts'
import { conv, globalAvgPool, input, linear, maxPool } from '../../lib/model/layers.ts'
import { parametersOf } from '../../lib/model/parameters.ts'
import { elements, type Shape } from '../../lib/model/plan.ts'
import { loadWeights } from '../../lib/runtime/load-weights.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { decodeBFloat16, encodeBFloat16 } from '../../lib/weights/tensors/float16.ts'
import { goldenImages, goldenWeights, relativeError } from '../support/golden.ts'
import { runNaively } from '../support/naive.ts'

afterEach(() => vi.unstubAllEnvs())

/** A network whose feature maps are what `layers` makes of images of `shape`, and its plan for floats. */
function networkOf(shape: Shape, layers: (x: Value) => Value) {
  const featureMaps = layers(input(shape.channels))
  const features = globalAvgPool(featureMaps)
  const logits = linear(features, { name: 'fc', classes: 1 })
  const network: Network = {
    name: 'special',
    graph: featureMaps.graph,
    outputs: { logits, features, featureMaps },
  }
  const unit = { mean: Array(shape.channels).fill(0), std: Array(shape.channels).fill(1) }
  return { network, plan: lower(network, { ...shape, ...unit }) }
}

/** Weights of one value each. */
function constantWeights(network: Network, value: number): WeightSource {
  return fromTensors(
    new Map(
      parametersOf(network).map(({ name, shape }) => [
        name,
        { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value) },
      ]),
    ),
  )
}

const { NativeSession } = loadNative()
const sameBits = (a: Float32Array, b: Float32Array) =>
  Buffer.compare(Buffer.from(a.buffer), Buffer.from(b.buffer)) === 0

describe.each(loadNative().capabilities())('on %s', isa => {
  const session = (
    { network, plan }: ReturnType<typeof networkOf>,
    options: { threads?: number; exact?: boolean } = {},
    weights = goldenWeights(network),
  ) => {
    vi.stubEnv('RESIDUAL_CPU_ISA', isa)
    return createSession(plan, weights, { device: 'cpu', threads: 2, ...options })
  }

  it.each([
    [4096, 4096, 1],
    [2048, 2048, 3],
    [512, 512, 19],
    [9, 7, 33],
    [8, 8, 16],
    [13, 5, 40],
  ])(
    'the mean of %i x %i pixels of %i channels is one, however many they are',
    async (height, width, channels) => {
      const shape = { height, width, channels }
      const net = networkOf(shape, x => x)
      const pixels = new Float32Array(elements(shape)).fill(25 / 255)
      await using exact = await session(net, { exact: true })
      const { features } = await exact.run(pixels)
      for (const mean of features) expect(Math.abs(mean / (25 / 255) - 1)).toBeLessThan(2e-6)

      // Of different numbers, next to float64; and in every way that there is to the bit.
      for (let i = 0; i < pixels.length; i++) pixels[i] = ((i * 7919) % 1009) / 1009
      const sums = new Float64Array(channels)
      for (let i = 0; i < pixels.length; i++) sums[i % channels]! += pixels[i]!
      const varied = (await exact.run(pixels)).features
      const expected = sums.map(sum => sum / (height * width))
      expect(relativeError(varied, expected)).toBeLessThan(5e-7)
      await using other = await session(net, { threads: 3 })
      expect(sameBits((await other.run(pixels)).features, varied)).toBe(true)
      if (height < 1000) {
        const three = new Float32Array(3 * pixels.length)
        for (let i = 0; i < 3; i++) three.set(pixels, i * pixels.length)
        const rows = (await other.run(three)).features
        for (let i = 0; i < 3; i++)
          expect(sameBits(rows.slice(i * channels, (i + 1) * channels), varied)).toBe(true)
      }
      const best = new NativeSession(net.plan, { isa: loadNative().capabilities()[0]! })
      await loadWeights(net.plan, goldenWeights(net.network), best, 1)
      expect(sameBits((await best.run(pixels, ['features'])).features!, varied)).toBe(true)
      best.dispose()
    },
  )

  it.each([
    [32, 128, 128, 3],
    [16, 32, 32, 3],
    [4, 4, 8, 1],
    [5, 25, 10, 3],
    [6, 12, 18, 3],
    [7, 21, 7, 1],
    [2, 32, 32, 3],
    [8, 8, 16, 7],
    [40, 40, 40, 3],
  ])(
    'infinity and NaN stay in their group: %i groups of %i to %i channels, %ix',
    async (groups, inputs, channels, kernel) => {
      const shape = { height: 5, width: 6, channels: inputs }
      const net = networkOf(shape, x => conv(x, { name: 'c', channels, kernel, groups }))
      await using one = await session(net)
      const images = goldenImages(1, shape)
      const clean = (await one.run(images, { outputs: ['featureMaps'] })).featureMaps
      for (const special of [Number.POSITIVE_INFINITY, Number.NaN])
        for (const group of [0, groups - 1]) {
          const spoilt = images.slice()
          const first = (group * inputs) / groups
          for (let i = first; i < spoilt.length; i += inputs) spoilt[i] = special
          const { featureMaps } = await one.run(spoilt, { outputs: ['featureMaps'] })
          const perGroup = channels / groups
          for (const [i, value] of featureMaps.entries())
            if (Math.floor((i % channels) / perGroup) === group) expect(Number.isFinite(value)).toBe(false)
            else expect(value).toBe(clean[i])
        }
    },
  )

  it.each([1, 3, 4, 8, 16, 19, 33])(
    'a max pool of %i channels keeps NaN and infinity wherever they are',
    async channels => {
      const shape = { height: 7, width: 8, channels }
      const net = networkOf(shape, x => maxPool(x, { kernel: 3, stride: 2, padding: 1 }))
      await using one = await session(net)
      const images = goldenImages(1, shape)
      for (let pixel = 0; pixel < 56; pixel++) {
        const spoilt = images.slice()
        spoilt[pixel * channels + (pixel % channels)] = Number.NaN
        spoilt[((pixel * 5) % 56) * channels + ((pixel + 1) % channels)] = Number.POSITIVE_INFINITY
        spoilt[((pixel * 3) % 56) * channels + ((pixel + 2) % channels)] = Number.NEGATIVE_INFINITY
        const expected = await runNaively(net.network, goldenWeights(net.network), spoilt, shape)
        const { featureMaps } = await one.run(spoilt, { outputs: ['featureMaps'] })
        expect(featureMaps).toEqual(Float32Array.from(expected.featureMaps!))
      }
    },
  )

  it.each([1, 3, 8, 16, 33, 64])(
    'a max pool of %i channels in bf16 keeps NaN of either sign, and finds the largest of both signs',
    async channels => {
      const shape = { height: 7, width: 8, channels }
      const net = networkOf(shape, x => maxPool(x, { kernel: 3, stride: 2, padding: 1 }))
      const kept = net.plan.ops.filter(({ kind }) => kind === 'normalize' || kind === 'maxPool')
      const values = net.plan.values.map(({ height, width, channels }, i) => ({
        ...{ height, width, channels },
        precision: kept.some(({ dst }) => dst === i) ? ('bf16' as const) : ('fp32' as const),
      }))
      const plan = { ...net.plan, values }
      const weights = goldenWeights(net.network)
      const native = new NativeSession(plan, { isa, threads: 2 })
      await loadWeights(plan, weights, native, 1)
      for (let pixel = 0; pixel < 56; pixel++) {
        const images = goldenImages(1, shape).map(Math.fround)
        const put = (at: number, bits: number) => {
          new Uint32Array(images.buffer)[(at % 56) * channels + (at % channels)] = bits
        }
        put(pixel, 0x7fc00000) // NaN, and negative NaN, as infinity less infinity gives
        put(pixel * 5 + 1, 0xffc00000)
        put(pixel * 3 + 2, 0x7f800000) // infinity, and negative infinity
        put(pixel * 11 + 3, 0xff800000)
        const rounded = new Float32Array(images.length)
        decodeBFloat16(Uint16Array.from(images, encodeBFloat16), rounded)
        const expected = await runNaively(net.network, weights, rounded, shape)
        const { featureMaps } = await native.run(images, ['featureMaps'])
        expect(featureMaps).toEqual(Float32Array.from(expected.featureMaps!))
      }
      native.dispose()
    },
  )

  it('convolutions of numbers up to 1e34 stay finite with every algorithm, and exact ones as long as the sums do', async () => {
    const shape = { height: 28, width: 28, channels: 64 }
    for (const stride of [1, 2]) {
      const net = networkOf(shape, x => conv(x, { name: 'c', channels: 64, kernel: 3, stride }))
      const run = async (value: number, exact: boolean, way = '') => {
        const algorithms = net.plan.ops.map(op => (op.kind === 'conv' ? way : ''))
        const native = new NativeSession(net.plan, { isa, exact, algorithms })
        await loadWeights(net.plan, constantWeights(net.network, 1e-3), native, 1)
        const pixels = new Float32Array(elements(shape)).fill(value)
        const { featureMaps } = await native.run(pixels, ['featureMaps'])
        native.dispose()
        return featureMaps!
      }
      const middle = 64 * (10 * (28 / stride) + 10)
      const sum = 9 * 64 * Math.fround(1e-3)
      for (const way of ['direct', 'winograd2', 'winograd4']) {
        const values = await run(1e34, false, way)
        expect(values.every(Number.isFinite)).toBe(true)
        expect(values[middle]! / 1e34 / sum).toBeCloseTo(1, 4)
      }
      const large = await run(1e37, true)
      expect(large.every(Number.isFinite)).toBe(true)
      expect(large[middle]! / 1e37 / sum).toBeCloseTo(1, 4)
    }
  })

  it('denormal numbers count as zero, in images and in sums, on every thread', async () => {
    const shape = { height: 24, width: 24, channels: 32 }
    const net = networkOf(shape, x => conv(x, { name: 'c', channels: 32, kernel: 1 }))
    await using one = await session(net, { threads: 3 }, constantWeights(net.network, 1))
    for (const [value, expected] of [
      [1e-39, 0],
      [2 ** -126, 32 * 2 ** -126],
    ] as const) {
      const pixels = new Float32Array(elements(shape)).fill(value)
      const { featureMaps } = await one.run(pixels, { outputs: ['featureMaps'] })
      for (const result of featureMaps) expect(result).toBe(expected)
    }
    await using small = await session(net, { threads: 3 }, constantWeights(net.network, 2 ** -100))
    const { featureMaps } = await small.run(new Float32Array(elements(shape)).fill(2 ** -40), {
      outputs: ['featureMaps'],
    })
    expect(featureMaps.every(result => result === 0)).toBe(true)
  })
})

it('a thread that computed gets its own denormal mode back afterwards', async () => {
  // One thread of libuv's does both: it runs the network, then turns half-precision weights, which passes through such numbers.
  const script = `
    import { loadNative } from './lib/runtime/native.ts'
    import { loadWeights } from './lib/runtime/load-weights.ts'
    import { tinyBytes, tinyPlan, tinyWeights } from './test/support/tiny.ts'
    const { NativeSession } = loadNative()
    const run = async halves => {
      const session = new NativeSession(tinyPlan, { threads: 1 })
      await loadWeights(tinyPlan, tinyWeights, session, 1)
      if (halves) {
        await session.run(tinyBytes(1), ['logits'])
        const smallest = new Uint8Array(new Uint16Array(24).fill(1).buffer) // 2^-24 each
        await session.loadWeights(1, smallest, 'KCRS', 'F16', new Float64Array(8).fill(2 ** 24), new Float32Array(8))
      } else {
        const ones = new Uint8Array(new Float32Array(24).fill(1).buffer)
        await session.loadWeights(1, ones, 'KCRS', 'F32', new Float64Array(8).fill(1), new Float32Array(8))
      }
      return [...(await session.run(tinyBytes(1), ['logits'])).logits]
    }
    console.log(JSON.stringify([await run(true), await run(false)]))
  `
  const tsx = join(packageRoot, 'node_modules', 'tsx', 'dist', 'loader.mjs')
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', tsx, '--input-type=module', '-e', script],
    { cwd: packageRoot, env: { ...process.env, UV_THREADPOOL_SIZE: '1' } },
  )
  const [halves, ones] = JSON.parse(stdout) as number[][]
  expect(halves).toEqual(ones)
})
