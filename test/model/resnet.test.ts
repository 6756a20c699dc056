import { describe, expect, it } from 'vitest'
import {
  lower,
  type Network,
  parametersOf,
  planCost,
  resnet,
  resnet18,
  resnet50,
  resnet101,
  resnet152,
  resnext50_32x4d,
  trainableCount,
  wideResnet50_2,
} from '../../lib/index.ts'

const image = { height: 224, width: 224, mean: [0, 0, 0], std: [1, 1, 1] }
const convolutions = (network: Network) => network.graph.layers.filter(layer => layer.kind === 'conv').length
const shapeOf = (network: Network, name: string) => parametersOf(network).find(p => p.name === name)?.shape

describe('resnet', () => {
  it.each([
    [resnet50(), 53, 25_557_032],
    [resnet101(), 104, 44_549_160],
    [resnet152(), 155, 60_192_808],
    // Parameter counts of these as torchvision's documentation gives them.
    [resnet18(), 20, 11_689_512],
    [resnext50_32x4d(), 53, 25_028_904],
    [wideResnet50_2(), 53, 68_883_240],
  ])('has the published convolution and parameter counts (%#)', (network, convs, parameters) => {
    expect(convolutions(network)).toBe(convs)
    expect(trainableCount(parametersOf(network))).toBe(parameters)
  })

  it('refuses a number of layers that does not exist and names those that do', () => {
    expect(() => resnet({ layers: 42 })).toThrow(
      new RangeError('Expected one of 18, 34, 50, 101, 152 for layers but received 42'),
    )
  })

  it.each([
    [{ layers: 50, classes: 0 }, RangeError],
    [{ layers: 50, classes: '10' as unknown as number }, TypeError],
    [{ layers: 50, width: 0 }, RangeError],
    [{ layers: 50, width: Number.NaN }, RangeError],
    [{ layers: 50, stride: 'v2' as 'v1' }, RangeError],
    [{ layers: 18, groups: 32 }, RangeError],
  ])('refuses invalid options: %o', (options, error) => {
    expect(() => resnet(options)).toThrow(error)
  })

  it('takes a single class', () => {
    expect(shapeOf(resnet50({ classes: 1 }), 'fc.weight')).toEqual([1, 2048])
  })

  it('names parameters in the order of torchvision’s state dict', () => {
    const names = parametersOf(resnet50()).map(p => p.name)
    expect(names.slice(0, 2)).toEqual(['conv1.weight', 'bn1.weight'])
    const block = names.filter(
      name => name.startsWith('layer2.0.') && /conv|bn.\.weight|downsample.*weight/.test(name),
    )
    expect(block.map(name => name.slice('layer2.0.'.length))).toEqual([
      'conv1.weight',
      'bn1.weight',
      'conv2.weight',
      'bn2.weight',
      'conv3.weight',
      'bn3.weight',
      'downsample.0.weight',
      'downsample.1.weight',
    ])
    expect(names.slice(-2)).toEqual(['fc.weight', 'fc.bias'])
  })

  it('has a projection only where shapes differ', () => {
    const projections = (network: Network) =>
      parametersOf(network)
        .map(p => p.name)
        .filter(name => name.endsWith('downsample.0.weight'))
        .map(name => name.split('.downsample')[0])
    expect(projections(resnet50())).toEqual(['layer1.0', 'layer2.0', 'layer3.0', 'layer4.0'])
    expect(projections(resnet18())).toEqual(['layer2.0', 'layer3.0', 'layer4.0']) // layer1 keeps 64 channels
  })

  it('scales every channel count by width', () => {
    const quarter = resnet50({ width: 0.25, classes: 10 })
    expect(shapeOf(quarter, 'conv1.weight')).toEqual([16, 3, 7, 7])
    expect(shapeOf(quarter, 'layer4.2.conv2.weight')).toEqual([128, 128, 3, 3])
    expect(shapeOf(quarter, 'fc.weight')).toEqual([10, 512])
  })

  it('has groups and their width in the 3x3 of ResNeXt and wide variants', () => {
    expect(shapeOf(resnext50_32x4d(), 'layer1.0.conv2.weight')).toEqual([128, 4, 3, 3])
    expect(shapeOf(wideResnet50_2(), 'layer1.0.conv2.weight')).toEqual([128, 128, 3, 3])
  })

  it('has its stride on the 3x3, or on the first 1x1 as v1', () => {
    const strideOf = (network: Network, name: string) =>
      network.graph.layers.find(layer => layer.kind === 'conv' && layer.name === name)
    expect(strideOf(resnet50(), 'layer2.0.conv2')).toMatchObject({ stride: 2 })
    expect(strideOf(resnet50(), 'layer2.0.conv1')).toMatchObject({ stride: 1 })
    expect(strideOf(resnet50({ stride: 'v1' }), 'layer2.0.conv2')).toMatchObject({ stride: 1 })
    expect(strideOf(resnet50({ stride: 'v1' }), 'layer2.0.conv1')).toMatchObject({ stride: 2 })
  })

  it('takes about 8.2 GFLOP an image at 224x224, as published for v1.5', () => {
    expect(planCost(lower(resnet50(), image)).flops / 1e9).toBeCloseTo(8.2, 1)
  })

  it('accepts images of any size that leaves at least one pixel', () => {
    const plan = lower(resnet50(), { ...image, height: 97, width: 161 })
    expect(plan.values[plan.outputs.featureMaps!]).toEqual({ height: 4, width: 6, channels: 2048 })
    expect(() => lower(resnet50(), { ...image, height: 1, width: 1 })).not.toThrow() // padding carries it
  })
})
