import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../../../lib/weights/formats/onnx/open-onnx.ts'
import {
  decodeBFloat16,
  decodeFloat16,
  encodeBFloat16,
  encodeFloat16,
} from '../../../lib/weights/tensors/float16.ts'
import { temporaryFolder } from '../../support/files.ts'
import { smallOnnx } from '../../support/onnx.ts'
import { type Encode, encodeWith, encodings, external } from '../../support/onnx-tensors.ts'

const folder = temporaryFolder()
const path = join(folder, 'model.onnx')
const graph = smallOnnx()
const dense = graph.initializers.find(({ name }) => name === 'fc.w')!

/** The tensors named are written by `encode`, the others as they usually are. */
async function opening(encode: Encode, names?: readonly string[], of = graph) {
  writeFileSync(
    path,
    encodeWith(of, ({ name }) => (names?.includes(name) === false ? encodings.raw : encode)),
  )
  return await openOnnx(path)
}

const rounded = (
  data: Float32Array,
  encode: (value: number) => number,
  decode: (from: Uint16Array, to: Float32Array) => void,
) => {
  const result = new Float32Array(data.length)
  decode(Uint16Array.from(data, encode), result)
  return result
}
const asHalf = (data: Float32Array) => rounded(data, encodeFloat16, decodeFloat16)
const asBFloat = (data: Float32Array) => rounded(data, encodeBFloat16, decodeBFloat16)
const asIs = (data: Float32Array) => data

describe('Tensors of ONNX files are read', () => {
  it.each<[keyof typeof encodings, string, (data: Float32Array) => Float32Array]>([
    ['raw', 'F32', asIs],
    ['float_data', 'F32', asIs],
    ['float_data and raw_data', 'F32', asIs],
    ['raw fp16', 'F16', asHalf],
    ['fp16 in int32_data', 'F16', asHalf],
    ['raw bf16', 'BF16', asBFloat],
    ['bf16 in int32_data', 'BF16', asBFloat],
    ['raw double', 'F64', asIs],
    ['double_data', 'F64', asIs],
  ])('as %s', async (encoding, dtype, expected) => {
    await using file = await opening(encodings[encoding])
    expect(file.tensors.get('conv1.weight')).toMatchObject({ dtype, shape: [2, 3, 7, 7] })
    expect(await file.read('conv1.weight')).toEqual(expected(graph.initializers[0]!.data))
    expect(await file.read('fc.weight')).toEqual(expected(dense.data))
  })

  it('each in its own way', async () => {
    const ways = [encodings['raw fp16'], encodings.double_data, encodings.float_data, encodings['raw bf16']]
    const way = (name: string) => graph.initializers.findIndex(tensor => tensor.name === name) % ways.length
    writeFileSync(
      path,
      encodeWith(graph, ({ name }) => ways[way(name)]!),
    )
    await using file = await openOnnx(path)
    const expected = [asHalf, asIs, asIs, asBFloat][way('fc.w')]!(dense.data)
    expect(await file.read('fc.weight')).toEqual(expected)
  })

  it('from files beside it, from anywhere in them', async () => {
    const data = Buffer.alloc(16 + dense.data.byteLength)
    Buffer.from(dense.data.buffer).copy(data, 12)
    writeFileSync(join(folder, 'weights.bin'), data)
    const where = { location: 'weights.bin', offset: '12', length: `${dense.data.byteLength}` }
    await using file = await opening(external(where), ['fc.w'])
    expect(await file.read('fc.weight')).toEqual(dense.data)
  })

  it('with the bias of a convolution taken from the mean of the batch norm behind it', async () => {
    const small = smallOnnx()
    const [, bias] = small.initializers as [unknown, { readonly data: Float32Array }]
    const norm = { gamma: [1, 2], beta: [3, 4], mean: [5, 6], variance: [7, 8] }
    for (const [name, data] of Object.entries(norm))
      small.initializers.push({ name, dims: [2], data: Float32Array.from(data) })
    const attributes = { epsilon: { f: 1e-3 } }
    const input = ['stem', ...Object.keys(norm)]
    small.nodes.push({ name: 'norm', opType: 'BatchNormalization', input, output: ['norm'], attributes })
    const relu = small.nodes.findIndex(({ name }) => name === 'stem.relu')
    small.nodes[relu] = { ...small.nodes[relu]!, input: ['norm'] }
    await using file = await opening(encodings.raw, [], small)
    expect(file.metadata.get('residual.architecture')).toContain('"epsilon":0.001')
    expect([...(await file.read('bn1.weight'))]).toEqual(norm.gamma)
    expect([...(await file.read('bn1.bias'))]).toEqual(norm.beta)
    expect([...(await file.read('bn1.running_var'))]).toEqual(norm.variance)
    const means = [...(await file.read('bn1.running_mean'))]
    expect(means).toEqual(norm.mean.map((mean, k) => Math.fround(mean - bias.data[k]!)))
    // A convolution without one behind it keeps its bias.
    const kept = small.initializers.find(({ name }) => name === '0.1.b')!
    expect(await file.read('layer1.0.bn1.bias')).toEqual(kept.data)
  })
})

describe('Tensors of ONNX files are refused', () => {
  it.each<[string, Encode, string]>([
    ['that are not packed', encodings['float_data, not packed'], 'has unpacked numbers'],
    ['of too few numbers', (writer, data) => encodings.raw(writer, data.subarray(1)), 'has 56 bytes for 15'],
    ['outside of the folder', external({ location: '../weights.bin' }), 'not a file in its own folder'],
    ['at an absolute path', external({ location: '/etc/passwd' }), 'not a file in its own folder'],
    ['in a file without a name', external({}), "names ''"],
    [
      'beyond the end of their file',
      external({ location: 'a.bin', offset: '8', length: '60' }),
      'which has 64',
    ],
    ['at no place', external({ location: 'a.bin', offset: '-4', length: '60' }), 'which has 64'],
    ['in a part that is too long', external({ location: 'a.bin' }), 'has 64 bytes for 15'],
    ['in a folder', external({ location: 'folder' }), 'it is not a file'],
  ])('%s', async (_, encode, message) => {
    writeFileSync(join(folder, 'a.bin'), Buffer.alloc(64))
    mkdirSync(join(folder, 'folder'), { recursive: true })
    await expect(opening(encode, ['fc.w'])).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(message),
    })
  })

  it('in a file that is not there', async () => {
    rmSync(join(folder, 'gone.bin'), { force: true })
    await expect(opening(external({ location: 'gone.bin' }), ['fc.w'])).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining('gone.bin'),
    })
  })
})

describe('What is no ResNet is refused:', () => {
  const nodes = (change: (all: ReturnType<typeof smallOnnx>['nodes']) => unknown) => {
    const small = smallOnnx()
    change(small.nodes)
    return small
  }
  const replace = (name: string, opType: string) =>
    nodes(all => {
      const at = all.findIndex(node => node.name === name)
      all[at] = { ...all[at]!, opType, attributes: {} }
    })
  const perceptron = () =>
    nodes(all => {
      all.length = 0
      all.push({ name: 'flat', opType: 'Flatten', input: ['x'], output: ['flat'] })
      all.push({ name: 'y', opType: 'Gemm', input: ['flat', 'fc.w', 'fc.b'], output: ['y'] })
    })
  it.each([
    ['a DenseNet', replace('1.add', 'Concat')],
    ['a network with squeeze and excitation', replace('1.add', 'Mul')],
    ['one of other activations', replace('2.relu1', 'HardSwish')],
    ['one without pooling', replace('stem.pool', 'Identity')],
    ['a perceptron', perceptron()],
    ['no node at all', nodes(all => all.splice(0))],
  ])('%s', async (_, other) => {
    await expect(opening(encodings.raw, [], other)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('is not supported: '),
    })
  })
})
