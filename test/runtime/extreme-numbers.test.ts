// int8 of the largest weights and sources, whose sums need not fit what an instruction set sums them in.
import { describe, expect, it } from 'vitest'
import { globalAvgPool, input, linear } from '../../lib/index.ts'
import type { Network, Value } from '../../lib/model/graph.ts'
import { conv, relu } from '../../lib/model/layers.ts'
import { parametersOf } from '../../lib/model/parameters.ts'
import { product } from '../../lib/model/product.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import type { WeightSource } from '../../lib/weights/source.ts'
import {
  calibrated,
  difference,
  fastEnough,
  isas,
  isInt8Throughout,
  planAndBytes,
  runNatively,
  runPlainly,
} from '../support/reduced-runs.ts'

type Pattern = (i: number) => number

/** Weights of one magnitude become 127 or -127. */
const patterns: Readonly<Record<string, Pattern>> = {
  'all 127': () => 1,
  'all -127': () => -1,
  'of alternating signs': i => (i % 2 === 0 ? 1 : -1),
  'of signs that change after every second': i => (i % 4 < 2 ? 1 : -1),
  'of signs that change after every fourth': i => (i % 8 < 4 ? 1 : -1),
  'of the largest and of smaller': i => [1, 0.3, -0.9, 0.02, 0.6, -1, 0.5][(i * 5) % 7]!,
}

/** Bytes all of which are large, or only those of some pixels or channels, so that sums near each other fit and do not. */
const images: Readonly<Record<string, Pattern>> = {
  'all 255': () => 255,
  'of 255 here and there': i => (i % 211 === 0 ? 255 : i % 40),
  'of all sizes': i => Math.imul(i + 1, 0x9e3779b1) >>> 24,
}

function weightsOf(network: Network, pattern: Pattern): WeightSource {
  const parameters = new Map(parametersOf(network).map(parameter => [parameter.name, parameter]))
  return {
    description: 'a pattern',
    names: () => parameters.keys(),
    shape: name => parameters.get(name)?.shape,
    read: async name => {
      const { role, shape } = parameters.get(name)!
      const isWeight = role === 'convWeight' || role === 'linearWeight'
      return Float32Array.from({ length: product(shape) }, (_, i) => (isWeight ? pattern(i) : 0))
    },
  }
}

function networkOf(channels: number, layers: (x: Value) => Value): Network {
  const featureMaps = layers(input(channels))
  const features = globalAvgPool(featureMaps)
  const logits = linear(features, { name: 'fc', classes: 3 })
  return { name: 'extreme', graph: featureMaps.graph, outputs: { logits, features, featureMaps } }
}

/** What the network computes on every instruction set must be what plain loops do. */
async function expectTheSame(
  network: Network,
  shape: readonly [number, number, number],
  pattern: Pattern,
  image: Pattern,
) {
  const [height, width, channels] = shape
  const weights = weightsOf(network, pattern)
  const { plan: full, bytes: some } = planAndBytes(network, { height, width, channels }, 1)
  const bytes = some.map((_, i) => image(i))
  const plan = reducedPlan(full, {
    precision: 'int8',
    quantization: await calibrated(full, weights, bytes),
    bf16: false,
  })
  expect(isInt8Throughout(plan)).toBe(true)
  const expected = await runPlainly(plan, weights, bytes)
  for (const isa of fastEnough(isas, plan, 1)) {
    const { featureMaps } = await runNatively(plan, weights, bytes, { isa, threads: 1 })
    expect(difference(featureMaps, expected.featureMaps), isa).toBeUndefined()
  }
}

describe.each(Object.entries(patterns))('int8 of weights %s', (_, pattern) => {
  it.each(Object.entries(images))('and bytes %s is exact', async (_, image) => {
    const network = networkOf(24, x => {
      const a = relu(conv(x, { name: 'a', channels: 40, kernel: 1 }))
      const b = conv(a, { name: 'b', channels: 72, kernel: 3, stride: 2 }) // signed
      return conv(b, { name: 'c', channels: 17, kernel: 1 })
    })
    await expectTheSame(network, [9, 11, 24], pattern, image)
  })
  it.each(Object.entries(images))('and an image of bytes %s is exact', async (_, image) => {
    const network = networkOf(3, x => relu(conv(x, { name: 'a', channels: 20, kernel: 7, stride: 2 })))
    await expectTheSame(network, [19, 30, 3], pattern, image)
  })
})

it('int8 of very many inputs is exact', async () => {
  const network = networkOf(12_000, x => relu(conv(x, { name: 'a', channels: 17, kernel: 1 })))
  await expectTheSame(
    network,
    [2, 5, 12_000],
    patterns['of the largest and of smaller']!,
    images['of all sizes']!,
  )
})
