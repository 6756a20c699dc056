import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openModel, saveModel } from '../../../lib/index.ts'
import { kerasFacts } from '../../../lib/weights/formats/keras/graph.ts'
import { temporaryFolder } from '../../support/files.ts'
import { withLogits } from '../../support/known-logits.ts'

const folder = temporaryFolder()
const layer = (class_name: string, config: object = {}, args?: readonly unknown[]) => ({
  class_name,
  name: (config as { name?: string }).name ?? class_name.toLowerCase(),
  config,
  inbound_nodes: args ? [{ args, kwargs: {} }] : [],
})
const from = (name: string) => ({ class_name: '__keras_tensor__', config: { keras_history: [name, 0, 0] } })
const tensor = (...value: number[]) => ({
  class_name: '__tensor__',
  config: { value: [[[value]]], dtype: 'float32' },
})
const conv = layer('Conv2D', { name: 'conv1_conv', activation: 'linear', dilation_rate: [1, 1] })
const facts = (...layers: object[]) => kerasFacts({ class_name: 'Functional', config: { layers } })
const pick = (channel: number) =>
  layer('GetItem', { name: `pick${channel}` }, [
    from('input'),
    [{ class_name: '__ellipsis__', config: {} }, channel],
  ])
const stack = (...channels: number[]) =>
  layer('Stack', { name: 'stack', axis: -1 }, [channels.map(channel => from(`pick${channel}`))])

/** What comes of the bytes 10, 100 and 200 of red, green and blue. */
function prepared(...layers: object[]): number[] | undefined {
  const { input, problem } = facts(layer('InputLayer'), ...layers, conv)
  expect(problem).toBeUndefined()
  if (!input) return undefined
  const bytes = input.channels === 'BGR' ? [200, 100, 10] : [10, 100, 200]
  return bytes.map((byte, c) => Number(((byte - input.mean[c]!) / input.std[c]!).toFixed(4)))
}

describe('what a Keras model does to images', () => {
  it.each<[string, object[], number[] | undefined]>([
    ['nothing', [layer('ZeroPadding2D'), layer('RandomFlip'), layer('Dropout')], undefined],
    ['Rescaling', [layer('Rescaling', { scale: 0.1, offset: -1 })], [0, 9, 19]],
    ['Rescaling of channels', [layer('Rescaling', { scale: [1, 2, 3], offset: [0, 1, 2] })], [10, 201, 602]],
    [
      'Normalization behind Rescaling',
      [
        layer('Rescaling', { scale: 0.5, offset: 0 }),
        layer('Normalization', { mean: [1, 2, 3], variance: [[[4, 4, 16]]] }),
      ],
      [2, 24, 24.25],
    ],
    [
      "keras.applications' preprocess_input",
      [
        pick(2),
        pick(1),
        pick(0),
        stack(2, 1, 0),
        layer('Add', {}, [from('stack'), tensor(-100, -110, -120)]),
      ],
      [100, -10, -110],
    ],
    ['numbers before channels are turned', [layer('Add', {}, [from('input'), tensor(1, 2, 3)]), pick(2), pick(1), pick(0), stack(2, 1, 0)], [203, 102, 11]], // biome-ignore format: short
    ['channels that stay', [pick(0), pick(1), pick(2), stack(0, 1, 2)], [10, 100, 200]],
    [
      'arithmetic',
      [
        layer('TrueDivide', {}, [from('input'), 2]),
        layer('Subtract', {}, [from('truedivide'), 1]),
        layer('Multiply', {}, [from('subtract'), tensor(2, 3, 4)]),
      ],
      [8, 147, 396],
    ],
  ])('is a preprocessing: %s', (_, layers, expected) => {
    expect(prepared(...layers)).toEqual(expected)
  })

  it.each<[string, object[]]>([
    ['an adapted Normalization', [layer('Normalization', { mean: null, variance: null })]],
    ['an inverted one', [layer('Normalization', { mean: 1, variance: 1, invert: true })]],
    ['a negative', [layer('Rescaling', { scale: -1, offset: 255 })]],
    ['a difference from a constant', [layer('Subtract', {}, [255, from('input')])]],
    ['another order of channels', [pick(0), pick(2), pick(1), stack(0, 2, 1)]],
    ['a sum of two values', [layer('Add', {}, [[from('a'), from('b')]])]],
    ['Lambda', [layer('Lambda')]],
    ['Resizing', [layer('Resizing')]],
  ])('is refused by the layer: %s', (_, layers) => {
    const { problem } = facts(layer('InputLayer'), ...layers, conv)
    expect(problem).toMatch(/its layer '\w+' \(\w+\) prepares images in an unsupported way/)
  })
})

describe('the layers of a Keras model', () => {
  const step = (name: string, strides: number) =>
    layer('Conv2D', { name, strides: [strides, strides], activation: 'linear' })

  it('say where bottlenecks have their stride, and the epsilon', () => {
    const bn = layer('BatchNormalization', { epsilon: 1e-3 })
    const [first, second] = ['conv3_block1_1_conv', 'conv3_block1_2_conv'] as const
    expect(facts(conv, bn, step(first, 2), step(second, 1)).architecture).toEqual({
      stride: 'v1',
      epsilon: 1e-3,
    })
    expect(facts(conv, bn, step(first, 1), step(second, 2)).architecture.stride).toBe('v1.5')
    expect(facts(conv, bn, layer('BatchNormalization', { epsilon: 1e-5 })).problem).toContain(
      'epsilons 0.001 and 0.00001',
    )
  })

  it('are seen in a model in a model', () => {
    const inner = layer('Functional', {
      name: 'resnet50',
      layers: [conv, layer('Activation', { activation: 'swish' })],
    })
    const model = { class_name: 'Sequential', config: { layers: [inner, layer('Dense')] } }
    expect(kerasFacts(model).problem).toContain('has the unsupported activation "swish"')
  })

  it.each<[string, object, string]>([
    [
      'GlobalMaxPooling2D',
      layer('GlobalMaxPooling2D'),
      "'globalmaxpooling2d' (GlobalMaxPooling2D) does not occur",
    ],
    ['Concatenate', layer('Concatenate'), '(Concatenate) does not occur in a ResNet'],
    ['a constant', layer('Add', {}, [from('a'), 1]), '(Add) uses a constant operand'],
    ['a dilation', layer('Conv2D', { dilation_rate: [2, 2] }), '(Conv2D) is dilated by 2,2'],
    ['ReLU6', layer('ReLU', { max_value: 6 }), '(ReLU) is a bounded or leaky ReLU'],
    ['another activation', layer('Conv2D', { activation: 'gelu' }), 'has the unsupported activation "gelu"'],
    ['another pool', layer('AveragePooling2D', { pool_size: [2, 2] }), '(AveragePooling2D) does not occur'],
  ])('that no ResNet has are refused by their names: %s', (_, other, message) => {
    expect(facts(conv, other, layer('Dense')).problem).toContain(message)
  })

  it('may be those of Keras until 2018, and end with an activation', () => {
    const pool = layer('AveragePooling2D', { name: 'avg_pool', pool_size: [7, 7] })
    const last = layer('Activation', { activation: 'tanh' })
    expect(facts(conv, layer('ReLU'), pool, layer('Flatten'), layer('Dense'), last).problem).toBeUndefined()
  })
})

it('what a file says of its network is followed when it is opened', async () => {
  const path = join(folder, 'model.safetensors')
  const { input } = facts(layer('Rescaling', { scale: 1 / 127.5, offset: -1 }), conv)
  for (const metadata of [
    { 'residual.preprocessing': JSON.stringify(input) },
    { 'residual.problem': 'its layer is odd' },
  ]) {
    const { architecture, weights } = withLogits([1, 2])
    await saveModel(path, { architecture, weights }, { metadata })
    writeFileSync(join(folder, 'model.json'), '{}')
    if ('residual.problem' in metadata) {
      const refused = { code: 'CHECKPOINT_MISMATCH', message: `${path} is not supported: its layer is odd.` }
      await expect(openModel(path)).rejects.toMatchObject(refused)
    } else {
      await using model = await openModel(path)
      const { range, mean, std } = model.preprocessing
      expect([range, mean[0], std[0]].map(value => Number(value!.toFixed(3)))).toEqual([255, 127.5, 127.5])
    }
  }
})
