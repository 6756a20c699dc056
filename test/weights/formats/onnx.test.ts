import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeOnnx, type OnnxNode } from '../../../lib/export/onnx-schema.ts'
import {
  createSession,
  lower,
  networkToOnnx,
  planToOnnx,
  type ResNetOptions,
  resnet,
} from '../../../lib/index.ts'
import { looksLikeOnnx, openOnnx } from '../../../lib/weights/formats/onnx/open-onnx.ts'
import { recognise } from '../../../lib/weights/names/recognise.ts'
import { temporaryFolder } from '../../support/files.ts'
import { goldenImages, goldenWeights, relativeError } from '../../support/golden.ts'
import { smallOnnx } from '../../support/onnx.ts'

const folder = temporaryFolder()
const path = join(folder, 'model.onnx')
const shape = { height: 64, width: 64, channels: 3 }
const unit = { mean: [0, 0, 0], std: [1, 1, 1] }

const basic = { layers: 18, classes: 5, width: 1 / 8 }
const narrow = { layers: 50, classes: 5, width: 1 / 16 }

describe('openOnnx, on what residual exports,', () => {
  it.each([
    ['basic blocks', basic, undefined],
    ['bottlenecks of v1.5', narrow, 'v1.5'],
    ['bottlenecks of v1', { ...narrow, stride: 'v1' }, 'v1'],
    ['groups', { ...narrow, width: 1 / 8, groups: 4, widthPerGroup: 16 }, 'v1.5'],
    ['ResNet-C', { ...narrow, deepStem: [4, 6] }, 'v1.5'],
    ['ResNet-D', { ...narrow, deepStem: [4, 6], averagedShortcut: true }, 'v1.5'],
    ['ResNet-D of basic blocks', { ...basic, deepStem: [4, 6], averagedShortcut: true }, undefined],
    ['averaged shortcuts', { ...narrow, averagedShortcut: true, projectFirst: true }, 'v1.5'],
  ] as [string, ResNetOptions, string | undefined][])(
    'finds the network and its logits: %s',
    async (_, options, stride) => {
      const network = resnet(options)
      const weights = goldenWeights(network)
      const plan = lower(network, { ...shape, ...unit })
      const input = goldenImages(2, shape)
      await using session = await createSession(plan, weights, { device: 'cpu' })
      const { logits } = await session.run(input)

      writeFileSync(path, await networkToOnnx(network, weights, shape))
      await using checkpoint = await openOnnx(path)
      expect(checkpoint.format).toBe('ONNX')
      const { averagedShortcut } = options
      const told = JSON.stringify({
        epsilon: 1e-5,
        ...(stride && { stride }),
        ...(averagedShortcut && { averagedShortcut }),
      })
      expect(checkpoint.metadata.get('residual.architecture')).toBe(told)
      expect(new Set(checkpoint.tensors.keys())).toEqual(new Set(weights.names()))
      for (const name of weights.names()) {
        expect(checkpoint.tensors.get(name)!.shape, name).toEqual(weights.shape(name))
        expect(await checkpoint.read(name), name).toEqual(await weights.read(name))
      }

      const foldedPath = join(folder, 'folded.onnx')
      writeFileSync(foldedPath, await planToOnnx(plan, weights))
      await using folded = await openOnnx(foldedPath)
      expect(folded.metadata.get('residual.architecture')).toBe(told)
      const again = recognise(folded)
      await using second = await createSession(lower(again.network, { ...shape, ...unit }), again.weights, {
        device: 'cpu',
      })
      expect(relativeError((await second.run(input)).logits, logits)).toBeLessThan(2e-5)
    },
  )
})

type Small = ReturnType<typeof smallOnnx>

/** A file of a small ResNet that has been changed. */
async function opening(change: (graph: Small) => unknown = () => {}) {
  const graph = smallOnnx()
  change(graph)
  writeFileSync(path, encodeOnnx(graph))
  return await openOnnx(path)
}

const change = (graph: Small, name: string, to: Partial<OnnxNode>) => {
  const at = graph.nodes.findIndex(node => node.name === name)
  graph.nodes[at] = { ...graph.nodes[at]!, ...to }
}
const insert = (graph: Small, reader: string, opType: string, attributes: OnnxNode['attributes'] = {}) => {
  const { input } = graph.nodes.find(({ name }) => name === reader)!
  graph.nodes.push({ name: 'new', opType, input: [input[0]!], output: ['new'], attributes })
  change(graph, reader, { input: ['new', ...input.slice(1)] })
}

/** Of a convolution. */
const window = (kernel: number, stride: number) => ({
  strides: { ints: [stride, stride] },
  pads: { ints: Array(4).fill((kernel - 1) / 2) },
})
/** Of a pool. */
const halving = { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } }

describe('openOnnx', () => {
  it.each([
    ['Softmax', 'softmax'],
    ['LogSoftmax', 'softmax'],
    ['Sigmoid', 'sigmoid'],
  ])('says that the network ends with %s', async (opType, activation) => {
    await using file = await opening(graph => {
      graph.nodes.push({ name: 'p', opType, input: ['y'], output: ['p'] })
    })
    expect(file.metadata.get('residual.activation')).toBe(activation)
  })

  it('reads 2x2 convolutions of shortcuts that are means, and no others', async () => {
    const merged = (graph: Small) => {
      for (const [at, tensor] of graph.initializers.entries()) {
        if (!/^[123]\.0\.w$/.test(tensor.name)) continue
        const [to, from] = tensor.dims as [number, number]
        const data = Float32Array.from({ length: to * from * 4 }, (_, i) => tensor.data[i >> 2]!)
        graph.initializers[at] = { ...tensor, dims: [to, from, 2, 2], data }
        change(graph, tensor.name.replace('.w', ''), { attributes: { strides: { ints: [2, 2] } } })
      }
    }
    const small = smallOnnx().initializers.find(({ name }) => name === '2.0.w')!.data
    await using file = await opening(merged)
    expect(await file.read('layer3.0.downsample.1.weight')).toEqual(small.map(w => 4 * w))
    await using other = await opening(graph => {
      merged(graph)
      graph.initializers.find(({ name }) => name === '3.0.w')!.data[6]! += 0.5
    })
    expect(await other.read('layer3.0.downsample.1.weight')).toEqual(small.map(w => 4 * w))
    await expect(other.read('layer4.0.downsample.1.weight')).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining("'3.0.w' is 2x2 and not a mean, which no ResNet has"),
    })
  })

  it('refuses two activations', async () => {
    const both = opening(graph => {
      for (const opType of ['Softmax', 'Sigmoid'])
        graph.nodes.push({ name: opType, opType, input: ['y'], output: [opType] })
    })
    await expect(both).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('both softmax and sigmoid come after the classifier'),
    })
  })

  it.each<[string, (graph: Small) => unknown]>([
    ['identities', graph => insert(graph, '0.1', 'Identity')],
    ['a sigmoid', graph => graph.nodes.push({ name: 'p', opType: 'Sigmoid', input: ['y'], output: ['p'] })],
    ['a softmax', graph => graph.nodes.push({ name: 'p', opType: 'Softmax', input: ['y'], output: ['p'] })],
    ['a sum', graph => change(graph, '2.add', { opType: 'Sum' })],
    [
      'a mean over axes',
      graph => change(graph, 'pool', { opType: 'ReduceMean', attributes: { axes: { ints: [2, 3] } } }),
    ],
    [
      'a pool of the right size',
      graph =>
        change(graph, 'pool', { opType: 'AveragePool', attributes: { kernel_shape: { ints: [2, 2] } } }),
    ],
    [
      'padding apart',
      graph => {
        insert(graph, '1.1', 'Pad', { pads: { ints: [0, 0, 1, 1, 0, 0, 1, 1] } })
        change(graph, '1.1', { attributes: { strides: { ints: [2, 2] } } })
      },
    ],
    [
      'a matrix product and an addition',
      graph => {
        const [fc, rest] = [graph.initializers.find(({ name }) => name === 'fc.w')!, graph.initializers]
        const data = fc.data.map((_, i) => fc.data[(i % 3) * 5 + Math.floor(i / 3)]!)
        rest[rest.indexOf(fc)] = { name: 'fc.w', dims: [5, 3], data }
        change(graph, 'y', { opType: 'MatMul', input: ['flat', 'fc.w'], output: ['product'], attributes: {} })
        graph.nodes.push({ name: 'bias', opType: 'Add', input: ['fc.b', 'product'], output: ['y'] })
      },
    ],
  ])('takes what other exporters make of the same network: %s', async (_, change) => {
    await using plain = await opening()
    const expected = new Map<string, Float32Array>()
    for (const name of plain.tensors.keys()) expected.set(name, await plain.read(name))
    await using checkpoint = await opening(change)
    for (const [name, values] of expected) expect(await checkpoint.read(name), name).toEqual(values)
  })

  it.each<[string, (graph: Small) => unknown, string]>([
    [
      'an operation that no ResNet has',
      graph => change(graph, 'stem.relu', { opType: 'HardSwish' }),
      "its node HardSwish 'stem.relu' does not occur in a ResNet",
    ],
    ['preprocessing', graph => insert(graph, 'stem', 'Sub'), 'export the network without it'],
    [
      'another stem',
      graph =>
        change(graph, 'stem', {
          input: ['x', '1.1.w', '1.1.b'],
          attributes: { pads: { ints: [1, 1, 1, 1] } },
        }),
      'begins with a 3x3 convolution',
    ],
    [
      'one 3x3 convolution as a stem',
      graph => change(graph, 'stem', { input: ['x', '1.1.w', '1.1.b'], attributes: window(3, 2) }),
      "it has MaxPool 'stem.pool' where a ResNet has a convolution",
    ],
    [
      'a stem that goes on otherwise',
      graph => {
        change(graph, 'stem', { input: ['x', '1.1.w', '1.1.b'], attributes: window(3, 2) })
        insert(graph, 'stem.pool', 'Conv')
        change(graph, 'new', { input: ['stem.relu', '1.0.w', '1.0.b'] })
      },
      'goes on with a 1x1 convolution of stride 1, not with 3x3',
    ],
    [
      'pools before some of the shortcuts',
      graph => {
        insert(graph, '2.0', 'AveragePool', halving)
        change(graph, '2.0', { attributes: {} })
      },
      'some of its shortcuts have average pools and others have none',
    ],
    [
      'strides after pools',
      graph => insert(graph, '2.0', 'AveragePool', halving),
      "Conv '2.0' has a stride of 2 after an average pool",
    ],
    [
      'pools that overlap before shortcuts',
      graph => {
        insert(graph, '2.0', 'AveragePool', { ...halving, kernel_shape: { ints: [3, 3] } })
        change(graph, '2.0', { attributes: {} })
      },
      "and AveragePool 'new' read '1.relu2', which is not a ResNet block",
    ],
    [
      'pools with padding before shortcuts',
      graph => {
        insert(graph, '2.0', 'AveragePool', { ...halving, pads: { ints: [1, 1, 1, 1] } })
        change(graph, '2.0', { attributes: {} })
      },
      "and AveragePool 'new' read '1.relu2', which is not a ResNet block",
    ],
    ['dilation', graph => change(graph, '0.1', { attributes: { dilations: { ints: [2, 2] } } }), 'dilated'],
    [
      'two inputs',
      graph => {
        ;(graph as { inputs: unknown }).inputs = [...graph.inputs, { name: 'z', dims: [1] }]
      },
      'it has 2 inputs',
    ],
    [
      'a mean over a part',
      graph =>
        change(graph, 'pool', { opType: 'AveragePool', attributes: { kernel_shape: { ints: [1, 1] } } }),
      'takes the mean over 1x1 of 2x2 pixels',
    ],
    [
      'a circle',
      graph => {
        change(graph, '0.relu1', { opType: 'Identity', input: ['0.relu1'], output: ['0.relu1'] })
        change(graph, '0.2', { input: ['0.1', '0.2.w', '0.2.b'] })
      },
      'where a ResNet has a ReLU',
    ],
    [
      'a value made twice',
      graph => change(graph, 'flat', { output: ['pool'] }),
      "two nodes produce the value 'pool'",
    ],
    [
      'a missing tensor',
      graph => graph.initializers.shift(),
      "input 1 of Conv 'stem' is not a tensor stored in the file",
    ],
    ['three stages', graph => change(graph, 'pool', { input: ['2.relu2'] }), ''],
  ])('refuses %s', async (_, change, message) => {
    // biome-ignore format: a table
    await expect(opening(change)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining(message),
    })
  })

  it('says what is missing or no such file', async () => {
    await expect(openOnnx(join(folder, 'none'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await expect(openOnnx(folder)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(99, 0xff), Buffer.from('\x08\x08:\x7f')]) {
      writeFileSync(path, bytes)
      await expect(openOnnx(path)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    }
  })

  it('notices that a file was cut after it was opened, and says that it is closed', async () => {
    const checkpoint = await opening()
    truncateSync(path, 300)
    await expect(checkpoint.read('fc.weight')).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    await expect(checkpoint.read('conv1')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
    await checkpoint.close()
    await checkpoint.close()
    await expect(checkpoint.read('fc.weight')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })

  it('knows such a file by how it begins', async () => {
    await (await opening()).close()
    expect(looksLikeOnnx(readFileSync(path).subarray(0, 8))).toBe(true)
    expect(looksLikeOnnx(Buffer.from('PK\x03\x04'))).toBe(false)
  })
})
