import { describe, expect, it } from 'vitest'
import { globalAvgPool, input, linear, lower, maxPool, type Plan, relu } from '../../lib/index.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { loadWeights } from '../../lib/runtime/load-weights.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { quantizationOf } from '../support/quantizations.ts'
import { tinyPlan, tinyWeights } from '../support/tiny.ts'

const { NativeSession: Native } = loadNative()
const int8 = reducedPlan(tinyPlan, {
  precision: 'int8',
  quantization: quantizationOf(tinyPlan),
  bf16: false,
})
const bf16 = reducedPlan(tinyPlan, { precision: 'bf16' })

/** The plan with the value of an operation kept otherwise. */
function keeping(plan: Plan, name: string, kept: object): Plan {
  const { dst } = plan.ops.find(op => op.name === name)!
  const { precision: _, scale: __, ...value } = plan.values[dst]! as object as { [key: string]: unknown }
  return { ...plan, values: plan.values.with(dst, { ...value, ...kept } as never) }
}

/** A max pool of 8x8 images. */
const pooled = () => {
  const x = maxPool(input(3), { kernel: 2, stride: 2 })
  const features = globalAvgPool(relu(x))
  const logits = linear(features, { name: 'fc', classes: 2 })
  const network = { name: 'pooled', graph: x.graph, outputs: { logits, features, featureMaps: x } }
  return lower(network, { height: 8, width: 8, mean: [0, 0, 0], std: [1, 1, 1] })
}
const image = { precision: 'uint8', scale: 1 }

describe('A session of the addon refuses a plan', () => {
  const uint8 = { precision: 'uint8', scale: 0.5 }
  const residual = tinyPlan.ops.find(op => op.kind === 'conv' && !op.relu)!.name
  it.each<[string, Plan, string]>([
    [
      'that keeps fp16',
      keeping(tinyPlan, 'block.conv1', { precision: 'fp16' }),
      'writes fp16, which the CPU',
    ],
    [
      'that keeps an image as int8',
      keeping(int8, 'normalize', { precision: 'int8', scale: 1 }),
      "writes int8, but an image's bytes are uint8",
    ],
    [
      'that pools bytes',
      keeping(keeping(pooled(), 'normalize', image), pooled().ops[1]!.name, image),
      "reads an image's bytes, which only a convolution can",
    ],
    [
      'that goes from int8 to bf16',
      keeping(int8, 'block.conv1', { precision: 'bf16' }),
      'writes bf16 of uint8',
    ],
    ['that keeps negative numbers as uint8', keeping(int8, residual, uint8), 'writes uint8 without a ReLU'],
    [
      'that rounds what it pools',
      keeping(pooled(), pooled().ops[1]!.name, { precision: 'bf16' }),
      'writes another precision or scale than it reads',
    ],
    [
      'that rounds a mean over pixels',
      keeping(int8, int8.ops.find(({ kind }) => kind === 'globalAvgPool')!.name, {
        precision: 'int8',
        scale: 1,
      }),
      'does not write fp32',
    ],
    ['that adds fp32 to integers', keeping(int8, residual, {}), 'adds fp32 to sums of uint8'],
  ])('%s', (_, plan, message) => {
    const refused = expect.objectContaining({
      code: 'PRECISION_UNSUPPORTED',
      message: expect.stringContaining(message),
    })
    expect(() => new Native(plan, { threads: 1 })).toThrow(refused)
  })

  it('that scales what it pools otherwise', () => {
    expect(() => new Native(poolingInt8(0.25), { threads: 1 })).not.toThrow()
    expect(() => new Native(poolingInt8(0.5), { threads: 1 })).toThrow('writes another precision or scale')
  })

  it('in bf16 with an instruction set that has no kernels for it', () => {
    const open = () => new Native(bf16, { threads: 1, isa: 'baseline' })
    expect(open).toThrow('computes in bf16, for which the instruction set baseline has no kernels')
  })
})

it('Weights are refused whose results could have more steps than an int32 counts', async () => {
  const fine = new Native(keeping(int8, 'block.conv1', { precision: 'uint8', scale: 1e-6 }), { threads: 1 })
  await loadWeights(int8, tinyWeights, fine, 1)
  const plan = keeping(int8, 'block.conv1', { precision: 'uint8', scale: 1e-12 })
  const session = new Native(plan, { threads: 1 })
  await expect(loadWeights(plan, tinyWeights, session, 1)).rejects.toMatchObject({
    code: 'CHECKPOINT_INVALID',
    message: expect.stringMatching(/scales of channel \d are too far apart: results could be over 2\^31/),
  })
  for (const each of [fine, session]) each.dispose()
})

/** A plan with a max pool of int8 values of scale 0.25, whose result has the given scale. */
function poolingInt8(scale: number): Plan {
  const { ops } = pooled()
  const [image, vector] = [
    { height: 8, width: 8, channels: 3 },
    { height: 1, width: 1, channels: 3 },
  ]
  return {
    name: 'pooled',
    values: [
      image,
      { ...image, precision: 'int8', scale: 0.25 },
      { height: 4, width: 4, channels: 3, precision: 'int8', scale },
      vector,
      { ...vector, channels: 2 },
    ],
    ops: [
      { ...ops[0]!, dst: 0 },
      { kind: 'convert', name: 'rounded', src: 0, dst: 1 },
      { ...ops[1]!, src: 1, dst: 2 },
      { kind: 'globalAvgPool', name: 'mean', src: 2, dst: 3 },
      { kind: 'linear', name: 'fc', src: 3, dst: 4 },
    ],
    outputs: { logits: 4, features: 3, featureMaps: 2 },
  } as object as Plan
}
