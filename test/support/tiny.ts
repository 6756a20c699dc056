// A network small enough for tests of everything but arithmetic: one bottleneck, 4 classes, 8x8 images.
import { bottleneck, globalAvgPool, input, linear, lower, type Network } from '../../lib/index.ts'
import { goldenImages, goldenWeights } from './golden.ts'

const x = bottleneck(input(), {
  name: 'block',
  inner: 8,
  channels: 32,
  stride: 2,
  groups: 1,
  strideOn: '3x3',
})
const features = globalAvgPool(x)
const logits = linear(features, { name: 'fc', classes: 4 })

export const tinyNetwork: Network = {
  name: 'tiny',
  graph: x.graph,
  outputs: { logits, features, featureMaps: x },
}
export const tinyShape = { height: 8, width: 8, channels: 3 }
export const tinyPlan = lower(tinyNetwork, { ...tinyShape, mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] })
export const tinyWeights = goldenWeights(tinyNetwork)

/** `[n,8,8,3]`, normalised. */
export const tinyInput = (n: number) => goldenImages(n, tinyShape)

/** `[n,8,8,3]`, all images different. */
export const tinyBytes = (n: number) =>
  Uint8Array.from({ length: n * 8 * 8 * 3 }, (_, i) => (i * 37 + i * i) % 256)

/** `[3,8,8,3]`, others for each `i`. */
export const threeImages = (i: number) => tinyBytes(i + 3).subarray(i * 8 * 8 * 3)
