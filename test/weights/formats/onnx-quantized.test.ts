import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeOnnx, type OnnxNode, type OnnxTensor } from '../../../lib/export/onnx-schema.ts'
import { openOnnx } from '../../../lib/weights/formats/onnx/open-onnx.ts'
import { quantizationOf } from '../../../lib/weights/quantization-of.ts'
import { temporaryFolder } from '../../support/files.ts'
import { relativeError } from '../../support/golden.ts'
import { smallOnnx } from '../../support/onnx.ts'
import {
  activationScales,
  type Manner,
  type QuantizedSmall,
  quantizedOnnx,
} from '../../support/onnx-quantized.ts'

const folder = temporaryFolder()
let files = 0

const usual: Manner = { activations: 'U8', weights: 'S8', perChannel: true, implied: true }

async function opening(graph: QuantizedSmall) {
  const path = join(folder, `${files++}.onnx`)
  writeFileSync(path, encodeOnnx(graph))
  return await openOnnx(path)
}

const changed = (change: (graph: QuantizedSmall) => unknown, manner = usual) => {
  const graph = quantizedOnnx(manner)
  change(graph)
  return opening(graph)
}
const nodeOf = (graph: QuantizedSmall, name: string, to: Partial<OnnxNode>) => {
  const at = graph.nodes.findIndex(node => node.name === name)
  graph.nodes[at] = { ...graph.nodes[at]!, ...to }
}
const tensorOf = (graph: QuantizedSmall, name: string, to: Partial<OnnxTensor>) => {
  const at = graph.initializers.findIndex(tensor => tensor.name === name)
  graph.initializers[at] = { ...graph.initializers[at]!, ...to }
}

/** Our names of the small network's tensors, and the graph's. */
const names: readonly (readonly [ours: string, theirs: string])[] = [
  ['layer1.0.conv1', '0.1'],
  ['layer1.0.conv2', '0.2'],
  ['layer2.0.conv1', '1.1'],
  ['layer2.0.downsample.0', '1.0'],
  ['layer4.0.conv2', '3.2'],
  ['fc', 'fc'],
]
const floats = new Map(smallOnnx().initializers.map(({ name, data }) => [name, data]))

const [positive, any] = [activationScales.positive, activationScales.any]
const exact = { type: 'uint8', scale: positive }

describe('A quantized ONNX file is read as a quantized checkpoint', () => {
  it.each<[string, Manner, { readonly type: string; readonly scale: number }, number]>([
    ['U8S8, ReLUs left out', usual, exact, (138 * any) / 127],
    ['U8S8, with ReLUs', { ...usual, implied: false }, exact, (138 * any) / 127],
    ['U8U8', { ...usual, weights: 'U8' }, exact, (138 * any) / 127],
    ['S8S8, ReLUs left out', { ...usual, activations: 'S8' }, exact, (138 * any) / 127],
    [
      'S8S8, symmetric',
      { ...usual, activations: 'S8', symmetric: true, implied: false },
      { type: 'int8', scale: positive },
      any,
    ],
    [
      'U8S8, symmetric',
      { ...usual, symmetric: true, implied: false },
      { type: 'int8', scale: positive },
      any,
    ],
    ['scales for whole tensors', { ...usual, perChannel: false }, exact, (138 * any) / 127],
    ['other zero points of weights', { ...usual, weights: 'U8', zeroPoint: 120 }, exact, (138 * any) / 127],
    ['zero points of signed weights', { ...usual, zeroPoint: -5 }, exact, (138 * any) / 127],
  ])('%s', async (_, manner, afterRelu, elsewhere) => {
    const graph = quantizedOnnx(manner)
    await using file = await opening(graph)
    const { values, kept } = quantizationOf(file)!
    expect(kept).toEqual({})
    expect(Object.keys(values)).toHaveLength(1 + 1 + 4 * 2 + 3 + 1)
    expect(values.normalize).toEqual({ type: 'uint8', scale: 1 })
    const relus = ['conv1', 'layer1.0.conv1', 'layer1.0.conv2', 'layer4.0.conv2', 'globalavgpool39']
    for (const op of relus) expect(values[op], op).toEqual(afterRelu)
    expect(values['layer2.0.downsample.0']).toEqual({ type: 'int8', scale: expect.closeTo(elsewhere, 9) })
    const stored = new Map(graph.initializers.map(({ name, data }) => [name, data]))
    for (const [ours, theirs] of names) {
      const [q, zero] = [stored.get(`${theirs}.w.q`)!, stored.get(`${theirs}.w.zero`)![0]!]
      const { integers, scales } = (await file.readIntegers!(`${ours}.weight`))!
      expect([...integers], ours).toEqual(Array.from(q, value => value - zero))
      const scale = stored.get(`${theirs}.w.scale`)!
      expect([...scales]).toEqual(Array.from(scales, (_, k) => scale[scale.length === 1 ? 0 : k]))
      const numbers = await file.read(`${ours}.weight`)
      expect(numbers).toEqual(
        numbers.map((_, i) => integers[i]! * scales[Math.floor((i * scales.length) / numbers.length)]!),
      )
      const bias = await file.read(`${ours}.bias`)
      const due = floats.get(`${theirs}.b`)!
      for (const [k, value] of bias.entries()) expect(value).toBeCloseTo(due[k]!, 4)
    }
    // The stem takes bytes: it has floats, which are normalised before they are rounded again.
    expect(await file.readIntegers!('conv1.weight')).toBeUndefined()
    expect(relativeError(await file.read('conv1.weight'), floats.get('stem.w')!)).toBeLessThan(0.02)
    expect(file.tensors.get('conv1.weight')!.dtype).toBe('F32')
    expect(file.tensors.get('fc.weight')!.dtype).toBe('I8')
  })
})

/** Values whose last number is further than 127 from the zero point, and what they become. */
describe('Weights that are not as ours', () => {
  const weights = (values: readonly number[], data: Int8Array | Uint8Array, zero: number, scale = 0.5) =>
    changed(graph => {
      const [K, C] = [3, 5] // of the classifier
      expect(values).toHaveLength(C)
      const all = Array.from({ length: K * C }, (_, i) => values[i % C]!)
      const ofType = (numbers: readonly number[]) =>
        data instanceof Int8Array ? Int8Array.from(numbers) : Uint8Array.from(numbers)
      tensorOf(graph, 'fc.w.q', { data: ofType(all) })
      tensorOf(graph, 'fc.w.zero', { data: ofType(Array(K).fill(zero)) })
      tensorOf(graph, 'fc.w.scale', { data: new Float32Array(K).fill(scale) })
    })

  it('are clamped by one step', async () => {
    await using file = await weights([-128, 127, 0, 1, -1], new Int8Array(), 0)
    const { integers, scales } = (await file.readIntegers!('fc.weight'))!
    expect([...integers.subarray(0, 5)]).toEqual([-127, 127, 0, 1, -1])
    expect(scales[0]).toBe(0.5)
  })

  it('are rounded again where their range is wider', async () => {
    await using file = await weights([0, 255, 100, 101, 50], new Uint8Array(), 1)
    const { integers, scales } = (await file.readIntegers!('fc.weight'))!
    expect([...integers.subarray(0, 5)]).toEqual(
      [0, 127, 50, 50, 25].map((value, i) => (i === 0 ? 0 : value)),
    )
    expect(scales[0]).toBeCloseTo((0.5 * 254) / 127, 6)
  })

  it('have batch norms folded in, of any sign', async () => {
    const norm = { gamma: [2, -0.5, 0], beta: [1, 2, 3], mean: [0.5, 0.25, 0], variance: [1, 4, 1] }
    await using file = await changed(
      graph => {
        for (const [name, data] of Object.entries(norm))
          graph.initializers.push({ name, dims: [3], data: Float32Array.from(data) })
        const at = graph.nodes.findIndex(({ name }) => name === '1.relu1')
        const before = graph.nodes[at]!.input[0]!
        const attributes = { epsilon: { f: 1e-9 } }
        const input = [before, ...Object.keys(norm)]
        graph.nodes.push({ name: 'norm', opType: 'BatchNormalization', input, output: ['norm'], attributes })
        nodeOf(graph, '1.relu1', { input: ['norm'] })
      },
      { ...usual, implied: false },
    )
    await using plain = await opening(quantizedOnnx({ ...usual, implied: false }))
    const name = 'layer2.0.conv1'
    const [folded, before] = [
      (await file.readIntegers!(`${name}.weight`))!,
      (await plain.readIntegers!(`${name}.weight`))!,
    ]
    const factors = norm.gamma.map((gamma, k) => gamma / Math.sqrt(norm.variance[k]!))
    const perChannel = folded.integers.length / 3
    for (const [i, value] of folded.integers.entries())
      expect(value).toBe(Math.sign(factors[Math.floor(i / perChannel)]!) * before.integers[i]! + 0)
    expect(folded.scales[0]).toBeCloseTo(2 * before.scales[0]!, 6)
    expect(folded.scales[1]).toBeCloseTo(0.25 * before.scales[1]!, 6)
    expect(folded.scales[2]).toBe(1) // whatever the channel's zeros are multiplied by
    const [bias, own] = [await file.read(`${name}.bias`), await plain.read(`${name}.bias`)]
    for (let k = 0; k < 3; k++)
      expect(bias[k]).toBeCloseTo((own[k]! - norm.mean[k]!) * factors[k]! + norm.beta[k]!, 5)
  })

  it('are transposed, rounded by the file itself, or of zero points made when it runs', async () => {
    await using plain = await opening(quantizedOnnx(usual))
    const expected = (await plain.readIntegers!('fc.weight'))!
    await using file = await changed(graph => {
      const { data } = graph.initializers.find(({ name }) => name === 'fc.w.q')!
      const turned = Int8Array.from(data, (_, i) => data[(i % 3) * 5 + Math.floor(i / 3)]!)
      tensorOf(graph, 'fc.w.q', { dims: [5, 3], data: turned })
      nodeOf(graph, 'fc.w.dq', { attributes: { axis: { i: -1 } } })
      nodeOf(graph, 'y', { attributes: {} })
      // The zero point of the bias as PyTorch writes it.
      graph.initializers.push({ name: 'shape', dims: [1], data: Int32Array.of(3) })
      const fill = { opType: 'ConstantOfShape', name: 'fill', input: ['shape'], output: ['fill'] }
      const cast = { opType: 'Cast', name: 'cast', input: ['fill'], output: ['cast'] }
      graph.nodes.push(fill, cast)
      nodeOf(graph, 'fc.b.dq', { input: ['fc.b.q', 'fc.b.scale', 'cast'] })
      // Weights that are floats in the file, as quantization aware training leaves them.
      const stem = graph.initializers.find(({ name }) => name === '0.1.w.q')!
      const scale = graph.initializers.find(({ name }) => name === '0.1.w.scale')!
      const perChannel = stem.data.length / scale.data.length
      const floats = Float32Array.from(
        stem.data,
        (q, i) => (q + 0.3) * scale.data[Math.floor(i / perChannel)]!,
      )
      tensorOf(graph, '0.1.w.q', { name: '0.1.w.float', data: floats })
      const input = ['0.1.w.float', '0.1.w.scale', '0.1.w.zero']
      const attributes = { axis: { i: 0 } }
      graph.nodes.push({ opType: 'QuantizeLinear', name: 'round', input, output: ['0.1.w.q'], attributes })
    })
    const found = (await file.readIntegers!('fc.weight'))!
    expect(found).toEqual(expected)
    expect(await file.read('fc.bias')).toEqual(await plain.read('fc.bias'))
    const [rounded, stored] = [
      await file.readIntegers!('layer1.0.conv1.weight'),
      await plain.readIntegers!('layer1.0.conv1.weight'),
    ]
    expect(rounded).toEqual(stored)
  })
})

describe('What a quantized ONNX file does not quantize is computed in float32, and why is said:', () => {
  const reasonsOf = ({ metadata }: { readonly metadata: ReadonlyMap<string, string> }) =>
    JSON.parse(metadata.get('residual.quantization')!).method.float32

  it('a convolution without integers', async () => {
    await using file = await changed(graph => {
      const [q, scale] = ['q', 'scale'].map(
        each => graph.initializers.find(({ name }) => name === `1.2.w.${each}`)!,
      )
      const perChannel = q!.data.length / scale!.data.length
      const data = Float32Array.from(q!.data, (value, i) => value * scale!.data[Math.floor(i / perChannel)]!)
      graph.initializers.push({ ...q!, name: 'float', data })
      nodeOf(graph, '1.2', { input: ['1.relu1.dq', 'float', '1.2.b.dq'] })
    })
    expect(quantizationOf(file)!.kept).toEqual({ 'layer2.0.conv2': 'fp32' })
    expect(reasonsOf(file)).toEqual({ 'layer2.0.conv2': 'its weights are not quantized' })
    expect(file.tensors.get('layer2.0.conv2.weight')!.dtype).toBe('F32')
  })

  it('a sum of a projection that is not quantized', async () => {
    await using file = await changed(graph => nodeOf(graph, '2.add', { input: ['2.2.dq', '2.0'] }))
    expect(reasonsOf(file)).toEqual({ 'layer3.0.conv2': 'what it reads is not quantized' })
    expect(quantizationOf(file)!.values).not.toHaveProperty(['layer3.0.downsample.0'])
  })

  it('a classifier of scales by input', async () => {
    await using file = await changed(graph => {
      nodeOf(graph, 'fc.w.dq', { attributes: { axis: { i: 1 } } })
      tensorOf(graph, 'fc.w.scale', { dims: [5], data: Float32Array.of(1, 2, 3, 4, 5) })
      tensorOf(graph, 'fc.w.zero', { dims: [5], data: new Int8Array(5) })
    })
    expect(quantizationOf(file)!.kept).toEqual({ fc: 'fp32' })
    const q = quantizedOnnx(usual).initializers.find(({ name }) => name === 'fc.w.q')!.data
    expect(await file.read('fc.weight')).toEqual(Float32Array.from(q, (value, i) => value * ((i % 5) + 1)))
  })

  it('a weight of 32 bits', async () => {
    await using file = await changed(graph => {
      tensorOf(graph, 'fc.w.q', { data: new Int32Array(15).fill(3000) })
      tensorOf(graph, 'fc.w.zero', { data: new Int32Array(3) })
      tensorOf(graph, 'fc.w.scale', { data: Float32Array.of(0.5, 1, 2) })
    })
    expect(reasonsOf(file)).toEqual({ fc: 'its weights have 32 bits' })
    expect([...(await file.read('fc.weight')).subarray(0, 6)]).toEqual([1500, 1500, 1500, 1500, 1500, 3000])
  })

  it('everything, if activations have 16 bits, or only weights are quantized', async () => {
    await using wide = await changed(graph => {
      for (const [at, tensor] of graph.initializers.entries())
        if (/(relu\d?|pool|flat|^x|add|\.[012])\.zero$/.test(tensor.name) && !tensor.name.includes('.w.'))
          graph.initializers[at] = {
            ...tensor,
            data: Uint16Array.of(tensor.data[0]!),
          }
    })
    expect(quantizationOf(wide)).toBeUndefined()
    expect(wide.metadata.get('residual.unquantized')).toBe('of 13 operations what it reads has 16 bits')
    const isOfWeights = ({ name }: OnnxNode) => /\.[wb]\.dq$/.test(name)
    await using weights = await changed(
      graph => {
        graph.nodes = graph.nodes.filter(node => isOfWeights(node) || !/\.d?q$/.test(node.name))
        for (const [at, node] of graph.nodes.entries())
          if (!isOfWeights(node))
            graph.nodes[at] = {
              ...node,
              input: node.input.map(name => (/\.[wb]\.dq$/.test(name) ? name : name.replace(/\.dq$/, ''))),
            }
      },
      { ...usual, implied: false },
    )
    expect(quantizationOf(weights)).toBeUndefined()
    expect(weights.metadata.get('residual.unquantized')).toBe(
      'of 13 operations what it reads is not quantized',
    )
    expect(weights.tensors.get('fc.weight')!.dtype).toBe('F32')
  })
})

describe('A quantized ONNX file is refused', () => {
  const f = (...values: readonly number[]) => ({ data: Float32Array.from(values) })
  it.each<[string, (graph: QuantizedSmall) => unknown, string]>([
    [
      'without a scale',
      graph => nodeOf(graph, 'x.q', { input: ['x', 'none', 'x.zero'] }),
      "input 1 of QuantizeLinear 'x.q', its scale, is not a tensor stored in the file",
    ],
    [
      'without the scale of a weight',
      graph => nodeOf(graph, '0.1.w.dq', { input: ['0.1.w.q'] }),
      'its scale, is not a tensor',
    ],
    ['with a scale of 0', graph => tensorOf(graph, 'x.scale', f(0)), "QuantizeLinear 'x.q' has the scale 0"],
    ['with a negative scale', graph => tensorOf(graph, '1.relu1.scale', f(-1)), 'has the scale -1'],
    [
      'with a scale that is NaN',
      graph => tensorOf(graph, '1.relu1.scale', f(Number.NaN)),
      'has the scale NaN',
    ],
    [
      'with an infinite scale',
      graph => tensorOf(graph, 'x.scale', f(Number.POSITIVE_INFINITY)),
      'the scale Infinity',
    ],
    [
      'with a weight whose scale is 0',
      graph => tensorOf(graph, '0.1.w.scale', f(1, 0)),
      "the scale of '0.1.w.q' is 0",
    ],
    [
      'with a weight whose scale is NaN',
      graph => tensorOf(graph, '0.1.w.scale', f(1, Number.NaN)),
      "'0.1.w.scale' in ",
    ],
    [
      'with integers for a scale',
      graph => tensorOf(graph, 'x.scale', { data: Int32Array.of(1) }),
      'its scale, is I32',
    ],
    [
      'with two scales of an activation',
      graph => tensorOf(graph, '0.relu1.scale', { dims: [2], ...f(1, 1) }),
      'has 2 scales for one activation',
    ],
    [
      'with scales along a dimension of another size',
      graph => nodeOf(graph, '1.1.w.dq', { attributes: { axis: { i: 1 } } }),
      "has 3 scales for dimension 1 of '1.1.w.q', [3,2,3,3]",
    ],
    [
      'with scales along no dimension',
      graph => nodeOf(graph, '1.1.w.dq', { attributes: { axis: { i: 7 } } }),
      'has 3 scales for dimension 7',
    ],
    [
      'with scales for blocks',
      graph => nodeOf(graph, 'fc.w.dq', { attributes: { axis: { i: 1 }, block_size: { i: 2 } } }),
      'has scales for blocks',
    ],
    [
      'with scales in two dimensions',
      graph => tensorOf(graph, 'fc.w.scale', { dims: [3, 1] }),
      'has scales for blocks',
    ],
    [
      'with a zero point of another type than the weight',
      graph => tensorOf(graph, 'fc.w.zero', { data: new Uint8Array(3) }),
      'has a zero point of type U8 for I8',
    ],
    [
      'with a zero point of floats',
      graph => tensorOf(graph, 'x.zero', f(0)),
      'quantizes to F32, neither to 8 nor to 16 bits',
    ],
    [
      'with too few zero points',
      graph => tensorOf(graph, 'fc.w.zero', { dims: [2], data: new Int8Array(2) }),
      '3 scales and 2 zero points',
    ],
    [
      'with a pair of different scales',
      graph => {
        graph.initializers.push({ name: 'other', dims: [], ...f(0.5) })
        nodeOf(graph, 'x.dq', { input: ['x.q', 'other', 'x.zero'] })
      },
      "DequantizeLinear 'x.dq' and QuantizeLinear 'x.q' have different scales or zero points",
    ],
    [
      'with a pair of different zero points',
      graph => {
        graph.initializers.push({ name: 'other', dims: [], data: Uint8Array.of(9) })
        nodeOf(graph, 'x.dq', { input: ['x.q', 'x.scale', 'other'] })
      },
      'different scales or zero points',
    ],
    [
      'with integers that are computed with',
      graph => nodeOf(graph, 'stem', { input: ['x.q', 'stem.w.dq', 'stem.b.dq'] }),
      "Conv 'stem' computes with what QuantizeLinear 'x.q' quantizes",
    ],
    [
      'with integers for its input',
      graph => nodeOf(graph, 'x.dq', { input: ['x', 'x.scale', 'x.zero'] }),
      "DequantizeLinear 'x.dq' where a ResNet has a convolution",
    ],
    [
      'with a ReLU that is missing',
      graph => tensorOf(graph, '0.relu1.zero', { data: Uint8Array.of(1) }),
      "Conv '0.2' where a ResNet has a ReLU",
    ],
    [
      'with too few integers',
      graph => tensorOf(graph, 'fc.w.q', { data: new Int8Array(14) }),
      "tensor 'fc.w.q' has 14 bytes for 15 I8 numbers",
    ],
    [
      'with a scale that it makes itself',
      graph => nodeOf(graph, '0.1.w.dq', { input: ['0.1.w.q', '0.1.w.dq'] }),
      'its scale, is not a tensor',
    ],
    [
      'with a weight that it makes itself',
      graph => nodeOf(graph, '0.1.w.dq', { input: ['0.1.w.dq', '0.1.w.scale'] }),
      'is not a tensor stored in the file',
    ],
    [
      'that quantizes at run time',
      graph => nodeOf(graph, 'x.q', { opType: 'DynamicQuantizeLinear' }),
      'does not occur in a ResNet',
    ],
  ])('%s', async (_, change, message) => {
    const reading = async () => {
      await using file = await changed(change)
      for (const name of file.tensors.keys()) await file.read(name)
      for (const [name, { dtype }] of file.tensors) if (dtype === 'I8') await file.readIntegers!(name)
      return quantizationOf(file)
    }
    const error = await reading().catch(error => error)
    expect(error).toMatchObject({ message: expect.stringContaining(message) })
    expect(['CHECKPOINT_INVALID', 'NON_FINITE']).toContain(error.code)
  })
})
