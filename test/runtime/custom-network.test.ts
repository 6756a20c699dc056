import { InferenceSession, Tensor } from 'onnxruntime-node'
import { expect, it } from 'vitest'
import { toNchw } from '../../lib/benchmark/nchw.ts'
import { networkToOnnx } from '../../lib/export/onnx.ts'
import {
  add,
  batchNorm,
  conv,
  convBN,
  createSession,
  globalAvgPool,
  input,
  linear,
  lower,
  maxPool,
  type Network,
  relu,
  type Value,
} from '../../lib/index.ts'
import { goldenImages, goldenWeights, relativeError } from '../support/golden.ts'
import { runNaively } from '../support/naive.ts'

/** Depthwise and pointwise convolutions in turn, as in MobileNet (https://arxiv.org/abs/1704.04861). */
function separable(x: Value, name: string, channels: number, stride: number): Value {
  const names = (part: string) => ({ conv: `${name}.${part}`, bn: `${name}.${part}_bn` })
  const y = convBN(x, {
    names: names('depthwise'),
    channels: x.channels,
    kernel: 3,
    stride,
    groups: x.channels,
  })
  return convBN(y, { names: names('pointwise'), channels, kernel: 1 })
}

/** Norm and activation before the convolution (https://arxiv.org/abs/1603.05027), and a sum that is not activated. */
function preActivated(x: Value, name: string): Value {
  const y = relu(batchNorm(x, { name: `${name}.bn`, epsilon: 1e-3 }))
  return add(x, conv(y, { name: `${name}.conv`, channels: x.channels, kernel: 3 }))
}

/** No ResNet: five channels in, separable convolutions, pre-activation, a hidden layer in the classifier. */
function ownNetwork(): Network {
  let x = maxPool(relu(conv(input(5), { name: 'stem', channels: 24, kernel: 4, stride: 2 })), { kernel: 2 })
  x = separable(x, 'one', 40, 1)
  x = preActivated(separable(x, 'two', 56, 2), 'three')
  const featureMaps = preActivated(x, 'four')
  const features = globalAvgPool(featureMaps)
  const hidden = relu(linear(features, { name: 'hidden', classes: 33 }))
  const logits = linear(hidden, { name: 'out', classes: 6 })
  return { name: 'own', graph: logits.graph, outputs: { logits, features, featureMaps } }
}

it('runs a network that is not a ResNet, fused the same way, and agrees with plain loops and onnxruntime', async () => {
  const network = ownNetwork()
  const shape = { height: 45, width: 38, channels: 5 }
  const plan = lower(network, { ...shape, mean: Array(5).fill(0), std: Array(5).fill(1) })
  const fused = plan.ops.flatMap(op => (op.kind === 'conv' ? [[op.name, op.residual !== null, op.relu]] : []))
  expect(fused).toEqual([
    ['stem', false, true],
    ['one.depthwise', false, true],
    ['one.pointwise', false, true],
    ['two.depthwise', false, true],
    ['two.pointwise', false, true],
    ['three.bn', false, true],
    ['three.conv', true, false],
    ['four.bn', false, true],
    ['four.conv', true, false],
    [expect.stringMatching(/^relu/), false, true],
  ])

  const weights = goldenWeights(network)
  const images = goldenImages(3, shape)
  await using session = await createSession(plan, weights, { threads: 2 })
  const actual = await session.run(images, { outputs: ['logits', 'features', 'featureMaps'] })
  const naive = await runNaively(network, weights, images, shape)
  const onnx = await InferenceSession.create(await networkToOnnx(network, weights, shape), {
    logSeverityLevel: 3,
  })
  const x = new Tensor('float32', toNchw(images, [3, 45, 38, 5]), [3, 5, 45, 38])
  const { logits, features } = await onnx.run({ x })
  expect(relativeError(actual.featureMaps, naive.featureMaps!)).toBeLessThan(1e-5)
  expect(relativeError(actual.features, features!.data as Float32Array)).toBeLessThan(1e-5)
  expect(relativeError(actual.logits, naive.logits)).toBeLessThan(1e-5)
  expect(relativeError(actual.logits, logits!.data as Float32Array)).toBeLessThan(1e-5)
  await onnx.release()
})
