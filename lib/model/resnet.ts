// ResNet: stem, four stages of blocks, pool, classifier (He et al., https://arxiv.org/abs/1512.03385).

import { checkNames, type Names } from '../base/options.ts'
import { checkInteger, outOfRange, wrongType } from '../errors.ts'
import { basicBlock, bottleneck, stem } from './blocks.ts'
import type { Network } from './graph.ts'
import { defaultEpsilon, globalAvgPool, input, linear, maxPool } from './layers.ts'

/** Blocks per stage and their kind, by the number of layers. */
const depths = {
  18: { blocks: [2, 2, 2, 2], block: 'basic' },
  34: { blocks: [3, 4, 6, 3], block: 'basic' },
  50: { blocks: [3, 4, 6, 3], block: 'bottleneck' },
  101: { blocks: [3, 4, 23, 3], block: 'bottleneck' },
  152: { blocks: [3, 8, 36, 3], block: 'bottleneck' },
} as const

const stageWidths = [64, 128, 256, 512]

/** How many times wider a bottleneck's result is than its 3x3. */
export const bottleneckExpansion = 4

export interface ResNetOptions {
  /** 18, 34, 50, 101 or 152. */
  readonly layers: number
  readonly classes?: number
  /** Scales every channel count. */
  readonly width?: number
  /** Where a bottleneck has its stride: on the 3x3 (`v1.5`, what torchvision calls ResNet) or the first 1x1 (`v1`). */
  readonly stride?: 'v1' | 'v1.5'
  /** Groups of the 3x3 convolutions: 32 in ResNeXt (https://arxiv.org/abs/1611.05431). */
  readonly groups?: number
  /** Channels per group at a stage width of 64: 4 or 8 in ResNeXt, 128 in wide ResNets. */
  readonly widthPerGroup?: number
  /**
   * Whether the first block has a projection even where its input is as wide as its result, which says nothing of bottlenecks:
   * ResNet-18 and -34 of PaddleClas have it.
   */
  readonly projectFirst?: boolean
  /**
   * Channels of the first two of three 3x3 convolutions that stand in place of the stem's 7x7; `width` does not scale them. [32, 32] in
   * ResNet-C and -D (https://arxiv.org/abs/1812.01187), timm's `stem_type` deep, and [24, 32] in its deep_tiered.
   */
  readonly deepStem?: readonly [number, number]
  /**
   * Whether projections have their stride on an average pool before them, as in ResNet-D: timm's `avg_down`. Heights and widths of
   * images must then be multiples of 32.
   */
  readonly averagedShortcut?: boolean
  /** What batch norms add to the variance: 1e-5 where most were trained, 1.001e-5 in Keras. */
  readonly epsilon?: number
}

export const resnetOptionNames = {
  layers: true,
  classes: true,
  width: true,
  stride: true,
  groups: true,
  widthPerGroup: true,
  projectFirst: true,
  deepStem: true,
  averagedShortcut: true,
  epsilon: true,
} as const satisfies Names<ResNetOptions>

export const supportedLayers: readonly number[] = Object.keys(depths).map(Number)

/** Depths whose blocks per stage are `blocks`, by the kind of block. */
export function findLayers(blocks: readonly number[], block: 'basic' | 'bottleneck'): number | undefined {
  return supportedLayers.find(layers => {
    const depth = depths[layers as keyof typeof depths]
    return depth.block === block && depth.blocks.every((count, i) => count === blocks[i])
  })
}

/**
 * A ResNet for images `[N,H,W,3]` of any height and width its strides leave something of.
 * Parameters are named as in torchvision.
 *
 * @throws RangeError for a number of layers or options that do not exist
 */
export function resnet(options: ResNetOptions): Network {
  checkNames(options, resnetOptionNames)
  const { layers, classes = 1000, width = 1, stride: version = 'v1.5' } = options
  const { groups = 1, widthPerGroup = 64, projectFirst = false, epsilon = defaultEpsilon } = options
  if (!supportedLayers.includes(layers))
    throw outOfRange(`one of ${supportedLayers.join(', ')}`, 'layers', layers)
  if (version !== 'v1' && version !== 'v1.5') throw outOfRange("'v1' or 'v1.5'", 'stride', version)
  if (!(width > 0 && width <= 64)) throw outOfRange('a number above 0, up to 64', 'width', width)
  if (typeof projectFirst !== 'boolean') throw wrongType('a boolean', 'projectFirst', projectFirst)
  checkInteger('classes', classes, 1)
  checkInteger('groups', groups, 1)
  checkInteger('widthPerGroup', widthPerGroup, 1)
  const { blocks, block } = depths[layers as keyof typeof depths]
  if (block === 'basic' && (groups !== 1 || widthPerGroup !== 64)) {
    throw outOfRange(
      '1 group of width 64 (blocks are basic)',
      `groups and widthPerGroup of ${layers} layers`,
      groups,
    )
  }
  const { deepStem, averagedShortcut = false } = options
  if (typeof averagedShortcut !== 'boolean')
    throw wrongType('a boolean', 'averagedShortcut', averagedShortcut)
  if (deepStem !== undefined && !(Array.isArray(deepStem) && deepStem.length === 2))
    throw wrongType('two numbers of channels', 'deepStem', deepStem)
  const scaled = (channels: number) => Math.max(1, Math.round(channels * width))

  let x = stem(input(3), { channels: scaled(64), deepStem, epsilon })
  x = maxPool(x, { kernel: 3, stride: 2, padding: 1 })
  for (const [stage, count] of blocks.entries()) {
    const planes = scaled(stageWidths[stage]!)
    for (let i = 0; i < count; i++) {
      const project = projectFirst && stage === 0 && i === 0
      const stride = stage > 0 && i === 0 ? 2 : 1
      const common = { name: `layer${stage + 1}.${i}`, stride, project, averagedShortcut, epsilon }
      if (block === 'basic') {
        x = basicBlock(x, { ...common, inner: planes, channels: planes })
      } else {
        const inner = Math.max(1, Math.floor((planes * widthPerGroup) / 64)) * groups
        const strideOn = version === 'v1' ? '1x1' : '3x3'
        x = bottleneck(x, { ...common, inner, channels: planes * bottleneckExpansion, groups, strideOn })
      }
    }
  }
  const features = globalAvgPool(x)
  const logits = linear(features, { name: 'fc', classes })
  return { name: `resnet${layers}`, graph: x.graph, outputs: { logits, features, featureMaps: x } }
}

type VariantOptions = Omit<ResNetOptions, 'layers'>

export const resnet18 = (options?: VariantOptions): Network => resnet({ layers: 18, ...options })
export const resnet34 = (options?: VariantOptions): Network => resnet({ layers: 34, ...options })
export const resnet50 = (options?: VariantOptions): Network => resnet({ layers: 50, ...options })
export const resnet101 = (options?: VariantOptions): Network => resnet({ layers: 101, ...options })
export const resnet152 = (options?: VariantOptions): Network => resnet({ layers: 152, ...options })
export const resnext50_32x4d = (options?: VariantOptions): Network =>
  resnet({ layers: 50, groups: 32, widthPerGroup: 4, ...options })
export const resnext101_32x8d = (options?: VariantOptions): Network =>
  resnet({ layers: 101, groups: 32, widthPerGroup: 8, ...options })
export const wideResnet50_2 = (options?: VariantOptions): Network =>
  resnet({ layers: 50, widthPerGroup: 128, ...options })
export const wideResnet101_2 = (options?: VariantOptions): Network =>
  resnet({ layers: 101, widthPerGroup: 128, ...options })
