import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSession, globalAvgPool, input, linear, lower, maxPool, type Value } from '../../lib/index.ts'
import { elements, type Shape } from '../../lib/model/plan.ts'
import { goldenImages, goldenWeights } from '../support/golden.ts'
import { runNaively } from '../support/naive.ts'
import { noTwin, useTwin } from '../support/twin.ts'

afterEach(() => vi.unstubAllEnvs())

describe.skipIf(noTwin)('the CUDA backend', () => {
  const open = async (shape: Shape, layers: (x: Value) => Value) => {
    const featureMaps = layers(input(shape.channels))
    const features = globalAvgPool(featureMaps)
    const logits = linear(features, { name: 'fc', classes: 1 })
    const network = { name: 's', graph: featureMaps.graph, outputs: { logits, features, featureMaps } }
    const unit = { mean: Array(shape.channels).fill(0), std: Array(shape.channels).fill(1) }
    const options = { ...useTwin(), precision: 'fp32', batchSizes: [1] } as const
    const session = await createSession(
      lower(network, { ...shape, ...unit }),
      goldenWeights(network),
      options,
    )
    return { network, session }
  }

  it.each([
    [1024, 1024, 2],
    [33, 31, 5],
    [7, 7, 9],
  ])('gives an accurate mean of %i x %i pixels', async (height, width, channels) => {
    const shape = { height, width, channels }
    const { session } = await open(shape, x => x)
    const { features } = await session.run(new Float32Array(elements(shape)).fill(25 / 255))
    await session.dispose()
    for (const mean of features) expect(Math.abs(mean / (25 / 255) - 1)).toBeLessThan(2e-6)
  })

  it("keeps NaN anywhere in a max pool's window", async () => {
    const shape = { height: 5, width: 6, channels: 3 }
    const { network, session } = await open(shape, x => maxPool(x, { kernel: 3, stride: 2, padding: 1 }))
    for (let i = 0; i < elements(shape); i++) {
      const images = goldenImages(1, shape)
      images[i] = Number.NaN
      const expected = await runNaively(network, goldenWeights(network), images, shape)
      const { featureMaps } = await session.run(images, { outputs: ['featureMaps'] })
      expect(featureMaps).toEqual(Float32Array.from(expected.featureMaps!))
    }
    await session.dispose()
  })
})
