// Convolutions of int8 numbers by Winograd's transforms give what direct ones do, to the bit.
import { describe, expect, it } from 'vitest'
import type { Network } from '../../lib/index.ts'
import { add, convBN, globalAvgPool, input, linear, relu } from '../../lib/model/layers.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import type { WeightSource } from '../../lib/weights/source.ts'
import { goldenWeights } from '../support/golden.ts'
import {
  algorithmsOf,
  calibrated,
  difference,
  fastEnough,
  isas,
  isInt8Throughout,
  planAndBytes,
  runNatively,
  runPlainly,
} from '../support/reduced-runs.ts'

/** Three 3x3 convolutions: of the image's bytes, of int8, and of uint8 with a residual. */
function network(inputs: number, channels: number): Network {
  const layer = (name: string) => ({
    names: { conv: name, bn: `bn_${name}` },
    channels,
    kernel: 3,
    activation: null,
  })
  const first = convBN(input(inputs), layer('a'))
  const second = relu(convBN(first, layer('b')))
  const featureMaps = relu(add(convBN(second, layer('c')), first))
  const features = globalAvgPool(featureMaps)
  const logits = linear(features, { name: 'fc', classes: 3 })
  return { name: 'three', graph: featureMaps.graph, outputs: { logits, features, featureMaps } }
}

/** The plan in int8 and what plain loops make of it. */
async function inInt8(of: Network, height: number, width: number, batch: number, weights: WeightSource) {
  const channels = 32
  const { plan: full, bytes } = planAndBytes(of, { height, width, channels }, batch)
  const quantization = await calibrated(full, weights, bytes)
  const plan = reducedPlan(full, { precision: 'int8', quantization, bf16: false })
  expect(isInt8Throughout(plan)).toBe(true)
  return { plan, bytes, expected: await runPlainly(plan, weights, bytes) }
}

const isWinograd = (names: readonly string[]) => names.includes('winograd4')

describe('winograd4 of int8', () => {
  it('is there wherever pairs of int16 are multiplied by one instruction', async () => {
    const { plan } = await inInt8(network(32, 32), 4, 4, 1, goldenWeights(network(32, 32)))
    const sets = ['avx512vnni', 'avx512', 'avxvnni', 'avx2', 'avx512vnni-emulated', 'avxvnni-emulated']
    for (const isa of isas.filter(isa => sets.includes(isa)))
      expect(algorithmsOf(plan, { isa, threads: 1 }).filter(isWinograd).length, isa).toBe(3)
  })

  // Images that patches of 4x4 fill, reach beyond or hardly touch; output channels that fill panels of 16 or not.
  it.each([
    [4, 4, 32, 1],
    [1, 1, 32, 2],
    [2, 3, 64, 1],
    [5, 6, 32, 3],
    [3, 9, 96, 1],
    [8, 1, 32, 1],
    [13, 14, 32, 2],
    [19, 17, 64, 3],
    [16, 20, 128, 1],
  ])(
    'is what direct products give, on %i x %i pixels of %i channels, batch %i',
    async (height, width, channels, batch) => {
      const net = network(32, channels)
      const weights = goldenWeights(net)
      const { plan, bytes, expected } = await inInt8(net, height, width, batch, weights)
      for (const isa of fastEnough(isas, plan, batch))
        for (const threads of [1, 3])
          for (const algorithm of ['winograd4', 'direct']) {
            const { featureMaps } = await runNatively(plan, weights, bytes, { isa, threads, algorithm })
            const what = `${algorithm} on ${isa}, ${threads} threads`
            expect(difference(featureMaps, expected.featureMaps), what).toBeUndefined()
          }
    },
  )

  // What a sum may be, 2^25, is nearly reached by 96 channels of the largest numbers; 128 channels are left to direct
  // products.
  it.each([96, 128])('is exact with %i channels of the largest weights and sources', async inputs => {
    const net = network(inputs, 16)
    const golden = goldenWeights(net)
    for (const sign of [1, -1]) {
      const weights = {
        ...golden,
        read: async (name: string) => {
          const values = await golden.read(name)
          return /^[abc]\.weight$/.test(name) ? values.fill(name === 'c.weight' ? 1 : sign) : values
        },
      }
      const { plan: full } = planAndBytes(net, { height: 6, width: 5, channels: inputs }, 1)
      const bytes = new Uint8Array(6 * 5 * inputs).fill(255)
      const quantization = await calibrated(full, weights, bytes)
      const plan = reducedPlan(full, { precision: 'int8', quantization, bf16: false })
      const expected = await runPlainly(plan, weights, bytes)
      for (const isa of fastEnough(isas, plan, 1)) {
        const { featureMaps } = await runNatively(plan, weights, bytes, {
          isa,
          threads: 1,
          algorithm: 'winograd4',
        })
        expect(difference(featureMaps, expected.featureMaps), isa).toBeUndefined()
      }
    }
  })
})
