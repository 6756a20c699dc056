import { readFileSync } from 'node:fs'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { toNchw } from '../../lib/benchmark/nchw.ts'
import { networkToOnnx } from '../../lib/export/onnx.ts'
import { createSession, lower, parametersOf, resnet, trainableCount } from '../../lib/index.ts'
import { loadNative, reducedKernels } from '../../lib/runtime/native.ts'
import {
  type GoldenCase,
  goldenImages,
  goldenInput,
  goldenNetwork,
  goldenWeights,
  relativeError,
} from '../support/golden.ts'

const bound = 1e-4
const exactBound = 1e-5
const normalised = { mean: [0, 0, 0], std: [1, 1, 1] } // inputs are floats here
const path = new URL('../golden/resnet_logits.json', import.meta.url)
const cases: GoldenCase[] = JSON.parse(readFileSync(path, 'utf8'))
const titled = cases.map((golden): [string, GoldenCase] => {
  const { layers, classes, n, size, width = size, stride = 'v1.5', groups = 1 } = golden
  return [
    `${layers} layers ${stride}, ${groups} groups, ${classes} classes, ${n} images ${size}x${width}`,
    golden,
  ]
})

afterEach(() => vi.unstubAllEnvs())

it('whole networks are compared in all nine cases', () => expect(cases).toHaveLength(9))

const sets = loadNative().capabilities()
const missing = ['avx512', 'avx2', 'baseline'].filter(isa => !sets.includes(isa))
if (missing.length > 0)
  console.log(`residual: this CPU has no ${missing.join(' and no ')}, which is not compared`)

describe.each(sets)('whole networks on %s', isa => {
  it.each(titled)('give the logits PyTorch gives in float64: %s', async (_, golden) => {
    vi.stubEnv('RESIDUAL_CPU_ISA', isa)
    const network = goldenNetwork(golden)
    expect(trainableCount(parametersOf(network))).toBe(golden.params)
    const plan = lower(network, { height: golden.size, width: golden.width ?? golden.size, ...normalised })
    await using session = await createSession(plan, goldenWeights(network))
    await using exact = await createSession(plan, goldenWeights(network), { exact: true })
    expect([session, exact].map(({ device }) => device)).toMatchObject([{ isa }, { isa }])
    const { logits, features } = await session.run(goldenInput(golden))
    expect(relativeError(logits, golden.logits.flat())).toBeLessThan(bound)
    const exactLogits = (await exact.run(goldenInput(golden))).logits
    expect(relativeError(exactLogits, golden.logits.flat())).toBeLessThan(exactBound)
    const pooled = features.length / golden.n
    const means = golden.pooled_mean.map((_, i) => {
      const row = features.subarray(i * pooled, (i + 1) * pooled)
      return row.reduce((a, b) => a + b, 0) / pooled
    })
    expect(relativeError(means, golden.pooled_mean)).toBeLessThan(bound)
  })
})

describe.skipIf(reducedKernels().bf16 === null)('whole networks in bf16', () => {
  it.each(titled)('give logits within 2e-2 of those of PyTorch in float64: %s', async (_, golden) => {
    const network = goldenNetwork(golden)
    const plan = lower(network, { height: golden.size, width: golden.width ?? golden.size, ...normalised })
    await using session = await createSession(plan, goldenWeights(network), {
      device: 'cpu',
      precision: 'bf16',
    })
    expect(session.device).toMatchObject({ precision: 'bf16' })
    const { logits } = await session.run(goldenInput(golden))
    expect(relativeError(logits, golden.logits.flat())).toBeLessThan(2e-2)
  })
})

describe('whole networks', () => {
  it.each([
    ['ResNet-50', resnet({ layers: 50, classes: 100 }), { height: 96, width: 128 }],
    [
      'ResNeXt-50 32x4d',
      resnet({ layers: 50, groups: 32, widthPerGroup: 4, classes: 7 }),
      { height: 64, width: 64 },
    ],
    [
      'ResNet-18 v1 at width 0.3',
      resnet({ layers: 18, width: 0.3, stride: 'v1' }),
      { height: 75, width: 50 },
    ],
  ])('agree with onnxruntime on the unfused network, batches 1, 3 and 8: %s', async (_, network, size) => {
    const weights = goldenWeights(network)
    const onnx = await InferenceSession.create(await networkToOnnx(network, weights, size), {
      logSeverityLevel: 3,
    })
    await using session = await createSession(lower(network, { ...size, ...normalised }), weights)
    for (const batch of [1, 3, 8]) {
      const shape = { ...size, channels: 3 }
      const input = goldenImages(batch, shape)
      const dims = [batch, size.height, size.width, 3] as const
      const nchw = new Tensor('float32', toNchw(input, dims), [batch, 3, size.height, size.width])
      const expected = await onnx.run({ x: nchw })
      const actual = await session.run(input)
      expect(relativeError(actual.logits, expected.logits!.data as Float32Array)).toBeLessThan(bound)
      expect(relativeError(actual.features, expected.features!.data as Float32Array)).toBeLessThan(bound)
    }
    await onnx.release()
  })
})
