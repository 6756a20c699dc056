import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  createSession,
  fromTensors,
  globalAvgPool,
  input,
  linear,
  lower,
  type Network,
  openCheckpoint,
  openModel,
  openSafetensors,
  parametersOf,
  resnet,
  type Safetensors,
  saveModel,
  type WeightSource,
} from '../../lib/index.ts'
import type { Plan } from '../../lib/model/plan.ts'
import { quantizationKey } from '../../lib/model/quantization.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { saveQuantizedModel } from '../../lib/save-model.ts'
import { readFolded, readQuantized, takesWeights, weightShape } from '../../lib/weights/op-weights.ts'
import { saveQuantizedNetwork } from '../../lib/weights/save-quantized.ts'
import { keepStored } from '../../lib/weights/stored-source.ts'
import { nearestIntegers } from '../../lib/weights/tensors/quantized-tensor.ts'
import { safetensors, seeded, temporaryFolder } from '../support/files.ts'
import { goldenImages, goldenWeights } from '../support/golden.ts'
import { quantizationOf } from '../support/quantizations.ts'
import { tinyNetwork, tinyPlan, tinyWeights } from '../support/tiny.ts'

const folder = temporaryFolder()
const pathOf = (name: string) => join(folder, name)
const options = { device: 'cpu', threads: 2 } as const

/** The header of a safetensors file. */
function headerOf(path: string): {
  [name: string]: { dtype: string; shape: number[]; data_offsets: number[] }
} {
  const bytes = readFileSync(path)
  return JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString())
}

const kept = { fc: 'bf16' } as const

async function savedTiny(name = 'tiny.safetensors'): Promise<string> {
  const path = pathOf(name)
  const quantization = quantizationOf(tinyPlan, kept)
  await saveQuantizedNetwork(path, tinyNetwork, tinyWeights, { quantization, method: { samples: 3 } })
  return path
}

describe('the integers nearest to weights', () => {
  it('are scaled by the largest of each channel, ties to even', () => {
    const weight = Float32Array.of(127, 0.5, 1.5, -2.5, -127, 3.5, 0, -0.5, 0, 0, 0, 0, -1, 0.25, 1e-9, 1)
    const { integers, scales } = nearestIntegers(weight, 4)
    expect([...scales]).toEqual([1, 1, 1, Math.fround(1 / 127)])
    expect([...integers]).toEqual([127, 0, 2, -2, -127, 4, 0, 0, 0, 0, 0, 0, -127, 32, 0, 127])
  })

  it('may have scales of at least some size', () => {
    const { integers, scales } = nearestIntegers(Float32Array.of(127, 1, 127, 1), 2, [0.5, 2])
    expect([[...scales], [...integers]]).toEqual([
      [1, 2],
      [127, 1, 64, 0],
    ])
  })

  it('are within half a scale of any number, and within their range', () => {
    const random = seeded(4)
    const weight = Float32Array.from({ length: 5000 }, () => (random() - 0.5) * 10 ** (8 * random() - 4))
    weight.set([1e-45, -1e-45, 0, 1e-45], 0) // whose scale is 0 as float32
    const { integers, scales } = nearestIntegers(weight, 1250)
    for (const [i, integer] of integers.entries()) {
      const scale = scales[i >> 2]!
      expect(scale).toBeGreaterThan(0)
      expect(Math.abs(integer)).toBeLessThanOrEqual(127)
      expect(Math.abs(integer * scale - weight[i]!)).toBeLessThanOrEqual(0.5 * scale * (1 + 1e-6))
    }
  })
})

describe('a quantized file', () => {
  it('has integers with scales where operations compute in int8 and read no bytes', async () => {
    const { __metadata__: metadata, ...header } = headerOf(await savedTiny())
    const types = Object.entries(header).map(([name, { dtype, shape }]) => `${name} ${dtype} [${shape}]`)
    expect(types).toEqual([
      'block.conv1.weight F32 [8,3,1,1]',
      'block.conv1.bias F32 [8]',
      'block.conv2.weight I8 [8,8,3,3]',
      'block.conv2.weight_scale F32 [8]',
      'block.conv2.bias F32 [8]',
      'block.downsample.0.weight F32 [32,3,1,1]',
      'block.downsample.0.bias F32 [32]',
      'block.conv3.weight I8 [32,8,1,1]',
      'block.conv3.weight_scale F32 [32]',
      'block.conv3.bias F32 [32]',
      'fc.weight F32 [4,32]',
      'fc.bias F32 [4]',
    ])
    const text = (metadata as unknown as { [key: string]: string })[quantizationKey]!
    expect(JSON.parse(text)).toEqual({
      version: 1,
      ...quantizationOf(tinyPlan, kept),
      method: { samples: 3 },
    })
  })

  it('takes other biases and integers, and is of its network alone', async () => {
    const [path, quantization] = [pathOf('own.safetensors'), quantizationOf(tinyPlan)]
    const biases = new Map([['block.conv2', new Float32Array(8).fill(7)]])
    const asked: string[] = []
    await saveQuantizedNetwork(path, tinyNetwork, tinyWeights, {
      quantization,
      biases,
      integersOf: (op, weight, channels) => {
        asked.push(`${op} ${channels}`)
        return {
          integers: new Int8Array(weight.length).fill(-3),
          scales: new Float32Array(channels).fill(0.5),
        }
      },
    })
    expect(asked).toEqual(['block.conv2 8', 'block.conv3 32', 'fc 4'])
    await using file = await openSafetensors(path)
    expect(new Set(await file.read('block.conv3.weight'))).toEqual(new Set([-1.5]))
    expect(new Set(await file.read('block.conv2.bias'))).toEqual(new Set([7]))
    const wrong = { ...quantization, kept: { other: 'fp32' } } as const
    await expect(
      saveQuantizedNetwork(path, tinyNetwork, tinyWeights, { quantization: wrong }),
    ).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
    const long = {
      quantization,
      integersOf: () => ({ integers: new Int8Array(1), scales: new Float32Array(1) }),
    }
    await expect(saveQuantizedNetwork(path, tinyNetwork, tinyWeights, long)).rejects.toThrow(RangeError)
  })

  it('has scales with which sums can start at the bias', async () => {
    const path = pathOf('bias.safetensors')
    const quantization = quantizationOf(tinyPlan)
    const bias = new Float32Array(8).fill(1)
    bias[3] = -3e9
    const biases = new Map([['block.conv2', bias]])
    await saveQuantizedNetwork(path, tinyNetwork, tinyWeights, { quantization, biases })
    await using file = await openSafetensors(path)
    const { scales } = (await file.readIntegers('block.conv2.weight'))!
    const { scale } = quantization.values['block.conv1']!
    expect(scales[3]).toBe(Math.fround(3e9 / (scale * 2 ** 30)))
    expect(Math.max(...scales.filter((_, k) => k !== 3))).toBeLessThan(0.1)
  })

  it('reads as what the integers stand for, the scales apart', async () => {
    await using file = await openSafetensors(await savedTiny())
    const op = tinyPlan.ops.find(({ name }) => name === 'block.conv2')!
    const folded = await readFolded(tinyPlan, op as never, tinyWeights)
    const expected = nearestIntegers(folded.weight, 8)
    expect(await file.readIntegers('block.conv2.weight')).toEqual(expected)
    expect(await file.readIntegers('block.conv1.weight')).toBeUndefined()
    const numbers = Float32Array.from(expected.integers, (q, i) => q * expected.scales[Math.floor(i / 72)]!)
    expect(await file.read('block.conv2.weight')).toEqual(numbers)
    expect([...file.tensors.keys()].filter(name => name.endsWith('_scale'))).toEqual([])
    expect(file.stored('block.conv2.weight')).toMatchObject({ type: 'I8' })
    await expect(file.read('block.conv2.weight_scale')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
  })
})

/** All tensors that the network needs, as floats in memory. */
async function inMemory(network: Network, source: WeightSource): Promise<WeightSource> {
  const tensors = new Map<string, { shape: readonly number[]; data: Float32Array }>()
  for (const { name, shape } of parametersOf(network))
    tensors.set(name, { shape, data: await source.read(name) })
  return fromTensors(tensors)
}

async function logitsOf(plan: Plan, weights: WeightSource, images: Float32Array): Promise<Float32Array> {
  await using session = await createSession(plan, weights, { ...options, precision: 'fp32' })
  return (await session.run(images)).logits
}

describe('a quantized model', () => {
  const architectures = {
    'ResNet-18': { layers: 18, width: 0.25, classes: 7 },
    'ResNet-50-D': { layers: 50, width: 0.125, classes: 5, deepStem: [8, 8], averagedShortcut: true },
  } as const
  it.each(Object.entries(architectures))('opens as any checkpoint: %s', async (name, architecture) => {
    const [network, path] = [resnet(architecture), pathOf(`${name}.safetensors`)]
    const unit = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] }
    const plan = lower(network, { height: 64, width: 64, ...unit })
    const quantization = quantizationOf(plan)
    const weights = goldenWeights(network)
    await saveQuantizedModel(path, { architecture, weights, activation: 'softmax' }, { quantization })

    await using model = await openModel(path)
    expect(model.architecture).toMatchObject(architecture)
    expect(model.scheme.name).toMatch(/folded/)
    expect(model.weights.quantization).toEqual(quantization)
    expect([...model.weights.names()].filter(tensor => /_scale/.test(tensor))).toEqual([])

    // The addon multiplies the integers itself, and gets the numbers that are read.
    const images = goldenImages(2, { height: 64, width: 64, channels: 3 })
    const actual = await logitsOf(
      lower(model.network, { height: 64, width: 64, ...unit }),
      model.weights,
      images,
    )
    const floats = await inMemory(model.network, model.weights)
    expect(floats.quantization).toBeUndefined()
    const own = lower(model.network, { height: 64, width: 64, ...unit })
    expect(actual).toEqual(await logitsOf(own, floats, images))
    // Which are near to those that were quantized.
    const expected = await logitsOf(plan, weights, images)
    const norm = Math.hypot(...expected)
    expect(Math.hypot(...actual.map((logit, i) => logit - expected[i]!)) / norm).toBeLessThan(0.1)
    expect(actual).not.toEqual(expected)

    // Averaged ones are spread over their windows.
    for (const op of own.ops)
      if (takesWeights(op) && op.name !== own.ops[1]!.name) {
        const [integers, { weight, bias }] = [
          (await readQuantized(own, op, model.weights))!,
          await readFolded(own, op, model.weights),
        ]
        const each = weight.length / weightShape(own, op)[0]!
        const { integers: q, scale } = integers
        const worst = weight.reduce(
          (most, w, i) => Math.max(most, Math.abs(q[i]! * scale[Math.floor(i / each)]! - w)),
          0,
        )
        expect([q.length, worst < 1e-7]).toEqual([weight.length, true])
        expect(integers.bias).toEqual(bias)
      }
    expect(await readQuantized(own, own.ops[1] as never, model.weights)).toBeUndefined()
  })

  it('is written as floats by saveModel, without its quantization', async () => {
    const architecture = architectures['ResNet-18']
    const network = resnet(architecture)
    const plan = lower(network, { height: 64, width: 64, mean: [0, 0, 0], std: [1, 1, 1] })
    const [path, out] = [pathOf('q.safetensors'), pathOf('floats.safetensors')]
    await saveQuantizedModel(
      path,
      { architecture, weights: goldenWeights(network) },
      { quantization: quantizationOf(plan) },
    )
    await using model = await openModel(path)
    for (const folded of [true, false]) {
      await saveModel(out, model, { folded })
      expect(new Set(Object.values(headerOf(out)).map(({ dtype }) => dtype))).toEqual(
        new Set([undefined, 'F32']),
      )
      await using floats = await openModel(out)
      expect(floats.weights.quantization).toBeUndefined()
      for (const name of [
        'layer1.0.conv1.weight',
        'bn1.bias',
        'layer2.0.downsample.1.running_mean',
        'fc.weight',
      ])
        expect(await floats.weights.read(name), name).toEqual(await model.weights.read(name))
    }
  })

  it('may be sharded', async () => {
    const path = await savedTiny('model-00001-of-00001.safetensors')
    const { __metadata__: _, ...header } = headerOf(path)
    const map = Object.fromEntries(
      Object.keys(header).map(name => [name, 'model-00001-of-00001.safetensors']),
    )
    const index = pathOf('model.safetensors.index.json')
    writeFileSync(index, JSON.stringify({ weight_map: map }))
    await using file = await openCheckpoint(index)
    await using whole = await openSafetensors(path)
    expect([...file.tensors.keys()]).toEqual([...whole.tensors.keys()])
    for (const name of whole.tensors.keys()) {
      expect(await file.read(name)).toEqual(await whole.read(name))
      expect(await file.readIntegers?.(name)).toEqual(await whole.readIntegers(name))
    }
  })
})

/** A file of one tensor, `w` [2,2], and its scales. */
function oneTensor(
  integers: readonly number[],
  scales: { dtype?: string; shape?: readonly number[]; data: Uint8Array } | null,
): string {
  const path = pathOf('one.safetensors')
  const header: { [name: string]: object } = { w: { dtype: 'I8', shape: [2, 2], data_offsets: [0, 4] } }
  const { dtype = 'F32', shape = [2], data } = scales ?? { data: new Uint8Array() }
  if (scales) header.w_scale = { dtype, shape, data_offsets: [4, 4 + data.length] }
  writeFileSync(
    path,
    safetensors(
      header,
      [...Int8Array.from(integers), ...data].map(byte => byte & 255),
    ),
  )
  return path
}
const floats = (...numbers: number[]) => new Uint8Array(Float32Array.from(numbers).buffer)

describe('a quantized tensor', () => {
  it('is its integers times their scales, rounded once', async () => {
    const path = oneTensor([127, -127, 3, 0], { data: floats(0.1, 1e-40) })
    await using file = await openSafetensors(path)
    const [a, b] = [Math.fround(0.1), Math.fround(1e-40)]
    expect(await file.read('w')).toEqual(Float32Array.of(127 * a, -127 * a, 3 * b, 0))
    const into = new Float32Array(4)
    expect(await file.read('w', into)).toBe(into)
  })

  it('is refused without scales', async () => {
    await using file = await openSafetensors(oneTensor([1, 2, 3, 4], null))
    expect(file.stored('w')).toBeUndefined()
    expect(await file.readIntegers('w')).toBeUndefined()
    await expect(file.read('w')).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringMatching(/'w' is I8 and has no scales, 'w_scale'; weights must be F32, F16/),
    })
    await expect(opened(file)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
  })

  const scales = { data: floats(1, 1) }
  it.each<[string, readonly number[], Parameters<typeof oneTensor>[1], string, RegExp]>([
    [
      'an integer of -128',
      [1, 2, -128, 4],
      scales,
      'CHECKPOINT_INVALID',
      /'w' in .* is -128 at index 2, outside/,
    ],
    [
      'a scale of 0',
      [1, 2, 3, 4],
      { data: floats(1, 0) },
      'CHECKPOINT_INVALID',
      /'w_scale' in .* is 0 at index 1/,
    ],
    ['a negative scale', [1, 2, 3, 4], { data: floats(-1, 1) }, 'CHECKPOINT_INVALID', /is -1 at index 0/],
    [
      'a scale that is no number',
      [1, 2, 3, 4],
      { data: floats(1, Number.NaN) },
      'CHECKPOINT_INVALID',
      /is NaN/,
    ],
    ['an infinite scale', [1, 2, 3, 4], { data: floats(1, 1 / 0) }, 'CHECKPOINT_INVALID', /is Infinity/],
    [
      'numbers beyond float32',
      [1, 2, 3, 4],
      { data: floats(1, 3e38) },
      'NON_FINITE',
      /'w' in .* is Infinity/,
    ],
    [
      'a scale too few',
      [1, 2, 3, 4],
      { shape: [1], data: floats(1) },
      'CHECKPOINT_INVALID',
      /'w_scale' is F32 \[1\] where F32 \[2\] is expected/,
    ],
    [
      'scales of another shape',
      [1, 2, 3, 4],
      { shape: [2, 1], ...scales },
      'CHECKPOINT_INVALID',
      /F32 \[2,1\]/,
    ],
    [
      'scales of another type',
      [1, 2, 3, 4],
      { dtype: 'F16', data: new Uint8Array(4) },
      'CHECKPOINT_INVALID',
      /'w_scale' is F16 \[2\]/,
    ],
  ])('is refused with %s, wherever it is read', async (_, integers, given, code, message) => {
    const path = oneTensor(integers, given)
    await using file = await openSafetensors(path)
    await expect(file.read('w')).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
    await expect(opened(file)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
  })

  it('is multiplied by the addon, in the file and in memory', async () => {
    const [integers, scale] = [[127, -127, 3, 0], Float64Array.of(0.25, 0.5)]
    await using file = await openSafetensors(oneTensor(integers, { data: floats(0.25, 0.5) }))
    await using session = await opened(file)
    const expected = [31.75, -31.75, 1.5, 0]
    const run = async (image: number[]) => [...(await session.run(Float32Array.from(image))).logits]
    expect([...(await run([1, 0])), ...(await run([0, 1]))]).toEqual([
      expected[0],
      expected[2],
      expected[1],
      expected[3],
    ])
    const native = new (loadNative().NativeSession)(small, {})
    const memory = (numbers: number[]) => new Uint8Array(Int8Array.from(numbers).buffer)
    const load = (numbers: number[], layout: 'KCRS' | 'RSCK', scales = scale) =>
      (async () => native.loadWeights(2, memory(numbers), layout, 'I8', scales, new Float32Array(2)))()
    await load(integers, 'KCRS')
    const { logits } = await native.run(Float32Array.of(1, 0), ['logits'])
    expect([...logits!]).toEqual([expected[0], expected[2]])
    await expect(load([1, 2, 3, -128], 'KCRS')).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: 'A weight of channel 1 is the integer -128, outside -127 to 127.',
    })
    await expect(load(integers, 'RSCK')).rejects.toMatchObject({ code: 'INTERNAL' })
    await expect(load(integers, 'KCRS', Float64Array.of(1, 0))).rejects.toMatchObject({ code: 'INTERNAL' })
    native.dispose()
  })
})

/** A network of one linear layer, of 2 classes from 2 channels. */
function pixelNetwork(): Plan {
  const x = globalAvgPool(input(2))
  const logits = linear(x, { name: 'fc', classes: 2 })
  const network = { name: 'pixel', graph: x.graph, outputs: { logits, features: x } }
  return lower(network, { height: 1, width: 1, mean: [0, 0], std: [1, 1] })
}
const small = { ...pixelNetwork() }

/** A session whose weights are the file's `w`. */
function opened(file: Safetensors) {
  const source: WeightSource = {
    description: file.path,
    names: () => ['fc.weight', 'fc.bias'],
    shape: name => (name === 'fc.weight' ? [2, 2] : [2]),
    read: async name => (name === 'fc.weight' ? file.read('w') : new Float32Array(2)),
  }
  const locate = (name: string) =>
    name === 'fc.weight' ? ({ name: 'w', layout: 'KCRS' } as const) : undefined
  keepStored(source, { file, locate })
  return createSession(small, source, options)
}
