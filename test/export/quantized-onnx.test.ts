import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import protobuf from 'protobufjs'
import { describe, expect, it } from 'vitest'
import { toNchw } from '../../lib/benchmark/nchw.ts'
import { lower, type Network, planToOnnx, resnet } from '../../lib/index.ts'
import type { Quantization } from '../../lib/model/quantization.ts'
import { openCheckpointFile } from '../../lib/weights/checkpoint/checkpoint-file.ts'
import { parseModel } from '../../lib/weights/formats/onnx/model.ts'
import { openOnnx } from '../../lib/weights/formats/onnx/open-onnx.ts'
import { Wire } from '../../lib/weights/formats/onnx/wire.ts'
import { recognise } from '../../lib/weights/names/recognise.ts'
import type { WeightSource } from '../../lib/weights/source.ts'
import { temporaryFolder } from '../support/files.ts'
import { goldenWeights, relativeError } from '../support/golden.ts'
import { quantizedLogits, rangesFor } from '../support/quantized.ts'

const folder = temporaryFolder()
const shape = { height: 64, width: 64, channels: 3 }
const [mean, std] = [
  [0.485, 0.456, 0.406],
  [0.229, 0.224, 0.225],
]
const batch = 3
const images = waves(batch)

/** Images that differ: waves of several lengths, and noise. */
function waves(count: number): Uint8Array {
  const { height, width } = shape
  let noise = 1
  return Uint8Array.from({ length: count * height * width * 3 }, (_, at) => {
    const [c, x, y] = [at % 3, Math.floor(at / 3) % width, Math.floor(at / 3 / width) % height]
    const i = Math.floor(at / (3 * height * width))
    noise = Math.imul(noise, 1664525) + 1013904223
    return 128 + 80 * Math.sin(x / (2 + i) + c * i) * Math.cos(y / (5 - i / 2)) + ((noise >>> 24) - 128) / 4
  })
}

/** The images as other engines take them, `[N,C,H,W]`. */
const normalised = (): Float32Array =>
  toNchw(
    Float32Array.from(images, (byte, i) => (byte / 255 - mean![i % 3]!) / std![i % 3]!),
    [batch, shape.height, shape.width, 3],
  )

async function onnxruntime(onnx: Uint8Array, optimized?: string): Promise<Float32Array> {
  const session = await InferenceSession.create(onnx, {
    logSeverityLevel: 3,
    ...(optimized !== undefined && { optimizedModelFilePath: optimized }),
  })
  const results = await session.run({
    x: new Tensor('float32', normalised(), [batch, 3, shape.height, shape.width]),
  })
  await session.release()
  return results.logits!.data as Float32Array
}

/** How often each operator, of whatever domain, occurs in an ONNX file. */
async function operatorsIn(path: string): Promise<Map<string, number>> {
  const file = await openCheckpointFile(path, 'ONNX')
  const { nodes } = await parseModel(new Wire(file, bytes => protobuf.Reader.create(bytes)), new Map())
  await file.close()
  const counts = new Map<string, number>()
  for (const name of nodes.map(({ op }) => op.split('.').at(-1)!))
    counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

const quantized = (source: WeightSource, quantization: Quantization): WeightSource => ({
  ...source,
  quantization,
})

const networks: { readonly [title: string]: Network } = {
  'basic blocks': resnet({ layers: 18, width: 1 / 8, classes: 5 }),
  bottlenecks: resnet({ layers: 50, width: 1 / 8, classes: 5 }),
  groups: resnet({ layers: 50, width: 1 / 8, classes: 3, groups: 4, widthPerGroup: 16 }),
  'ResNet-D': resnet({ layers: 18, width: 1 / 8, classes: 5, deepStem: [4, 4], averagedShortcut: true }),
}

describe('a quantized network, exported,', () => {
  it.each(Object.entries(networks))(
    'gives onnxruntime the logits of int8 arithmetic: %s',
    async (_, network) => {
      const source = goldenWeights(network)
      const plan = lower(network, { ...shape, mean: mean!, std: std! })
      const quantization = await rangesFor(plan, source, images)
      const { logits } = await quantizedLogits(plan, source, quantization, images)
      const actual = await onnxruntime(await planToOnnx(plan, quantized(source, quantization)))
      const float = await onnxruntime(await planToOnnx(plan, source, { precision: 'fp32' }))
      expect(relativeError(actual, logits)).toBeLessThan(0.05)
      expect(relativeError(actual, float)).toBeGreaterThan(1e-4) // it is quantized
    },
  )

  it('adds the biases of channels that are next to nothing otherwise', async () => {
    const network = networks['basic blocks']!
    const golden = goldenWeights(network)
    const source: WeightSource = {
      ...golden,
      read: async name => {
        const values = await golden.read(name)
        if (name === 'layer1.0.bn1.weight') values.set([1e-12, 1e-30, 0])
        if (name === 'layer1.0.bn1.bias') values.set([2, 3, 4])
        return values
      },
    }
    const plan = lower(network, { ...shape, mean: mean!, std: std! })
    const quantization = await rangesFor(plan, source, images)
    const actual = await onnxruntime(await planToOnnx(plan, quantized(source, quantization)))
    const float = await onnxruntime(await planToOnnx(plan, source, { precision: 'fp32' }))
    expect(relativeError(actual, float)).toBeLessThan(0.05)
  })

  it('is computed in integers but for its pool', async () => {
    const network = networks.bottlenecks!
    const source = goldenWeights(network)
    const plan = lower(network, { ...shape, mean: mean!, std: std! })
    const onnx = await planToOnnx(plan, quantized(source, await rangesFor(plan, source, images)))
    const path = join(folder, 'optimized.onnx')
    await onnxruntime(onnx, path)
    const operators = await operatorsIn(path)
    const convs = plan.ops.filter(({ kind }) => kind === 'conv')
    const sums = convs.filter(op => op.kind === 'conv' && op.residual !== null)
    expect(operators.get('QLinearConv')).toBe(convs.length)
    expect(operators.get('QLinearAdd')).toBe(sums.length)
    expect(operators.get('QGemm')).toBe(1)
    for (const float of ['Conv', 'FusedConv', 'Relu', 'Add', 'Gemm'])
      expect(operators.has(float), float).toBe(false)
    expect(operators.get('QuantizeLinear')).toBe(2) // of the image, and behind the pool
  })

  it('keeps in float32 what the quantization keeps', async () => {
    const network = networks['basic blocks']!
    const source = goldenWeights(network)
    const plan = lower(network, { ...shape, mean: mean!, std: std! })
    const kept = { conv1: 'fp32', 'layer2.0.conv2': 'bf16', 'layer3.1.conv1': 'fp32', fc: 'fp32' } as const
    const quantization = await rangesFor(plan, source, images, kept)
    const path = join(folder, 'kept.onnx')
    const onnx = await planToOnnx(plan, quantized(source, quantization))
    await writeFile(path, onnx)
    const optimized = join(folder, 'optimized.onnx')
    const actual = await onnxruntime(onnx, optimized)
    const { logits } = await quantizedLogits(plan, source, quantization, images)
    expect(relativeError(actual, logits)).toBeLessThan(0.05)
    // Of 20 convolutions three are kept, and one writes floats, which one of the three reads.
    expect((await operatorsIn(optimized)).get('QLinearConv')).toBe(20 - 3 - 1)
    await using file = await openOnnx(path)
    const again = recognise(file).weights.quantization!
    expect(Object.keys(again.kept).sort()).toEqual(Object.keys(kept).sort())
    expect(await file.read('conv1.weight')).toHaveLength(8 * 3 * 49)
  })

  it.each(['bottlenecks', 'ResNet-D'])('is the same network again when it is read: %s', async title => {
    const network = networks[title]!
    const source = goldenWeights(network)
    const plan = lower(network, { ...shape, mean: mean!, std: std! })
    const quantization = await rangesFor(plan, source, images)
    const path = join(folder, 'again.onnx')
    await writeFile(path, await planToOnnx(plan, quantized(source, quantization)))
    await using file = await openOnnx(path)
    const again = recognise(file)
    expect(again.weights.quantization).toEqual({ ...quantization, kept: {} })
    const [first, second] = [
      await quantizedLogits(plan, source, quantization, images),
      await quantizedLogits(
        lower(again.network, { ...shape, mean: mean!, std: std! }),
        again.weights,
        again.weights.quantization!,
        images,
      ),
    ]
    for (const [name, { weight, scale }] of first.integers) {
      expect(second.integers.get(name)!.weight.join() === weight.join(), name).toBe(true)
      expect(second.integers.get(name)!.scale, name).toEqual(scale)
    }
    expect(relativeError(second.logits, first.logits)).toBeLessThan(0.02) // the stem's weights are rounded twice
  })

  it('is refused if it is not quantized, or unknown', async () => {
    const network = networks['basic blocks']!
    const source = goldenWeights(network)
    const plan = lower(network, { ...shape, mean: mean!, std: std! })
    await expect(planToOnnx(plan, source, { precision: 'int8' })).rejects.toMatchObject({
      code: 'PRECISION_UNSUPPORTED',
      message: expect.stringContaining('residual quantize'),
    })
    await expect(planToOnnx(plan, source, { precision: 'bf16' as 'fp32' })).rejects.toThrow(RangeError)
    const other = quantized(source, { values: { conv9: { type: 'int8', scale: 1 } }, kept: {} })
    await expect(planToOnnx(plan, other)).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
  })
})
