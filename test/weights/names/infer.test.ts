import { describe, expect, it } from 'vitest'
import { type Network, parametersOf, ResidualError, type ResNetOptions, resnet } from '../../../lib/index.ts'
import { inferResNet } from '../../../lib/weights/names/infer.ts'
import type { WeightSource } from '../../../lib/weights/source.ts'

type Shapes = Map<string, readonly number[]>

const shapesOf = (network: Network): Shapes =>
  new Map(parametersOf(network).map(({ name, shape }) => [name, shape]))

/** Tensors without numbers. */
const shapeOnly = (shapes: Shapes): WeightSource => ({
  description: 'model.safetensors',
  names: () => shapes.keys(),
  shape: name => shapes.get(name),
  read: () => Promise.reject(new Error('Only shapes are needed.')),
})

const variants: [string, ResNetOptions][] = [
  ['resnet18', { layers: 18 }],
  ['resnet34', { layers: 34 }],
  ['resnet50', { layers: 50 }],
  ['resnet101', { layers: 101 }],
  ['resnet152', { layers: 152 }],
  ['resnext50_32x4d', { layers: 50, groups: 32, widthPerGroup: 4 }],
  ['resnext101_32x8d', { layers: 101, groups: 32, widthPerGroup: 8 }],
  ['resnet50c', { layers: 50, deepStem: [32, 32] }],
  ['resnet18t', { layers: 18, deepStem: [24, 32] }],
  ['wide_resnet50_2', { layers: 50, widthPerGroup: 128 }],
]

describe.each(variants)('inferResNet, from the shapes of %s,', (_, variant) => {
  it.each([1, 0.25, 2])('gives back the options at width %d', width => {
    const options = { ...variant, width, classes: 7 }
    const shapes = shapesOf(resnet(options))
    const inferred = inferResNet(shapeOnly(shapes))
    expect(inferred).toMatchObject(options)
    expect(shapesOf(resnet(inferred))).toEqual(shapes)
  })

  it('is not misled by the counters of PyTorch', () => {
    const shapes = shapesOf(resnet(variant))
    for (const name of [...shapes.keys()]) {
      if (name.endsWith('running_var')) shapes.set(name.replace('running_var', 'num_batches_tracked'), [])
    }
    expect(inferResNet(shapeOnly(shapes))).toMatchObject({ ...variant, classes: 1000, width: 1 })
  })
})

describe('inferResNet refuses', () => {
  const change = (layers: number, changes: [string, readonly number[] | null][]) => {
    const shapes = shapesOf(resnet({ layers, width: 0.25 }))
    for (const [name, shape] of changes) {
      if (shape) shapes.set(name, shape)
      else shapes.delete(name)
    }
    return shapes
  }

  it.each([
    ['nothing', new Map(), 'it has no conv1.weight'],
    ['no stem', change(18, [['conv1.weight', null]]), 'it has no conv1.weight'],
    ['no classifier', change(18, [['fc.weight', null]]), 'it has no fc.weight'],
    [
      'a ResNet of CIFAR-10 with three stages',
      change(
        18,
        ['conv1', 'conv2', 'downsample.0'].flatMap(conv =>
          [0, 1].map((block): [string, null] => [`layer4.${block}.${conv}.weight`, null]),
        ),
      ),
      'it has stages of 2-2-2-0 basic blocks',
    ],
    [
      'another number of blocks',
      change(50, [['layer3.6.conv1.weight', [1, 1, 1, 1]]]),
      'it has stages of 3-4-7-3 bottleneck blocks',
    ],
    [
      'a number of blocks that only the other kind of block has',
      change(18, [['layer1.0.conv3.weight', [1, 1, 1, 1]]]),
      'it has stages of 2-2-2-2 bottleneck blocks',
    ],
    ['a stem that is a scalar', change(18, [['conv1.weight', []]]), 'conv1.weight is malformed'],
    [
      'a stem without channels',
      change(18, [['conv1.weight', [0, 3, 7, 7]]]),
      'its stem and its last stage differ in width',
    ],
    [
      'a stem of absurd width',
      change(18, [['conv1.weight', [6400, 3, 7, 7]]]),
      'its stem and its last stage differ in width',
    ],
    ['a classifier that is a scalar', change(18, [['fc.weight', []]]), 'fc.weight is malformed'],
    ['a classifier without classes', change(18, [['fc.weight', [0, 128]]]), 'for classes but received 0'],
    ['an inner convolution of a vector', change(50, [['layer1.0.conv2.weight', [9]]]), 'layer1.0 is malf'],
    ['no inner convolution', change(50, [['layer1.0.conv2.weight', null]]), 'layer1.0 is malformed'],
    ['no outer channels', change(50, [['layer1.0.conv3.weight', [0, 16, 1, 1]]]), 'for widthPerGroup but'],
    ['no inner channels', change(50, [['layer1.0.conv2.weight', [0, 0, 3, 3]]]), 'for groups but received'],
    ['half a group', change(50, [['layer1.0.conv2.weight', [10, 4, 3, 3]]]), 'for groups but received 2.5'],
  ] as [string, Shapes, string][])('%s', (_, shapes, message) => {
    const inferring = () => inferResNet(shapeOnly(shapes))
    expect(inferring).toThrow(ResidualError)
    expect(inferring).toThrow(expect.objectContaining({ code: 'CHECKPOINT_MISMATCH' }))
    expect(inferring).toThrow('model.safetensors does not hold a supported ResNet: ')
    expect(inferring).toThrow(message)
  })
})
