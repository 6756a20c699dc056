// The cases every kernel of every instruction set must get right: one table for all backends.

import { basicBlock, bottleneck } from '../../lib/model/blocks.ts'
import type { Network, Value } from '../../lib/model/graph.ts'
import {
  add,
  batchNorm,
  channelGate,
  conv,
  convBN,
  globalAvgPool,
  input,
  linear,
  localAvgPool,
  maxPool,
  relu,
} from '../../lib/model/layers.ts'
import type { Shape } from '../../lib/model/plan.ts'

export interface OpCase {
  readonly title: string
  readonly batch: number
  readonly shape: Shape
  readonly network: Network
}

interface CaseOptions {
  readonly batch?: number
  readonly classes?: number
}

/** A case whose feature maps are what `layers` makes of images `[height,width,channels]`. */
function opCase(
  title: string,
  [height, width, channels]: readonly [number, number, number],
  layers: (x: Value) => Value,
  { batch = 1, classes = 3 }: CaseOptions = {},
): OpCase {
  const featureMaps = layers(input(channels))
  const features = globalAvgPool(featureMaps)
  const logits = linear(features, { name: 'fc', classes })
  const network = { name: title, graph: featureMaps.graph, outputs: { logits, features, featureMaps } }
  return { title: `${title}, batch ${batch}`, batch, shape: { height, width, channels }, network }
}

type ConvCase = Omit<Parameters<typeof conv>[1], 'name'>

/** A convolution with everything that can be fused into it: batch norm, a residual, ReLU. */
function fused(x: Value, options: ConvCase): Value {
  const y = convBN(x, { ...options, names: { conv: 'a', bn: 'bn_a' }, activation: null })
  return relu(add(y, convBN(x, { ...options, names: { conv: 'b', bn: 'bn_b' } })))
}

const names = { conv: 'c', bn: 'b' }

/** A 1x1 convolution of `x` to as many channels, whose residual is `residual`. */
function around(x: Value, residual: Value, name: string, channels: number): Value {
  const y = convBN(x, { names: { conv: name, bn: `bn_${name}` }, channels, kernel: 1, activation: null })
  return relu(add(y, residual))
}

export const opCases: readonly OpCase[] = [
  // Output channels around the widths of vectors (4, 8, 16) and of tiles (8, 16, 64).
  ...[1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 63, 64, 65, 80, 100, 130].map(channels =>
    opCase(`1x1 to ${channels} channels`, [5, 7, 20], x => fused(x, { channels, kernel: 1 })),
  ),
  // Input channels around the limit below which windows are gathered.
  ...[1, 2, 3, 15, 16, 17].map(inputs =>
    opCase(`3x3 of ${inputs} channels`, [6, 5, inputs], x => fused(x, { channels: 20, kernel: 3 }), {
      batch: 2,
    }),
  ),
  // Batches: slices of the batch and tiles of pixels that do not come out even.
  ...[1, 2, 3, 4, 5, 9].map(batch =>
    opCase('3x3', [7, 7, 24], x => fused(x, { channels: 24, kernel: 3 }), { batch, classes: 1 }),
  ),
  opCase('stem 7x7/2', [33, 29, 3], x => convBN(x, { names, channels: 64, kernel: 7, stride: 2 }), {
    batch: 2,
  }),
  opCase('7x7 larger than the image', [3, 2, 3], x => convBN(x, { names, channels: 8, kernel: 7 })),
  opCase('3x3 larger than the image', [1, 1, 32], x => convBN(x, { names, channels: 8, kernel: 3 })),
  opCase('3x3/2', [9, 12, 33], x => fused(x, { channels: 40, kernel: 3, stride: 2 }), { batch: 3 }),
  opCase('3x3/3 without padding', [11, 10, 18], x =>
    fused(x, { channels: 17, kernel: 3, stride: 3, padding: 0 }),
  ),
  opCase('5x5 padded by 4', [6, 6, 17], x => convBN(x, { names, channels: 16, kernel: 5, padding: 4 })),
  opCase('1x1 padded by 2', [4, 4, 16], x => convBN(x, { names, channels: 16, kernel: 1, padding: 2 })),
  opCase('2x2/2', [9, 9, 3], x => convBN(x, { names, channels: 16, kernel: 2, stride: 2 })),
  opCase('1x1/2', [9, 9, 64], x => convBN(x, { names, channels: 96, kernel: 1, stride: 2 }), { batch: 2 }),
  // Too large to go through the network in one slice of the batch, whether on one thread or on three.
  ...[3, 5].map(batch =>
    opCase('1x1 on 200x200', [200, 200, 3], x => fused(x, { channels: 48, kernel: 1 }), { batch }),
  ),
  opCase('one row', [1, 40, 16], x => fused(x, { channels: 24, kernel: 3 })),
  opCase('more pixels than a block', [23, 29, 16], x => fused(x, { channels: 16, kernel: 3 })),
  // Depths that are summed up in several blocks of weights.
  opCase('1x1 of 2500 channels', [2, 3, 2500], x => fused(x, { channels: 70, kernel: 1 })),
  opCase('3x3 of 700 channels', [3, 3, 700], x => fused(x, { channels: 66, kernel: 3 })),
  opCase('3x3 of 2100 channels to 1', [2, 2, 2100], x => fused(x, { channels: 1, kernel: 3 })),
  opCase('9x9 of 300 channels', [4, 4, 300], x => convBN(x, { names, channels: 18, kernel: 9 })),
  // Weights that are read for several images at a time.
  opCase(
    '1x1/2 of 1100 to 1040 channels',
    [7, 7, 1100],
    x => convBN(x, { names, channels: 1040, kernel: 1, stride: 2 }),
    { batch: 5 },
  ),
  opCase('3x3 of 260 to 260 channels', [7, 7, 260], x => convBN(x, { names, channels: 260, kernel: 3 }), {
    batch: 5,
  }),
  // Large enough for Winograd on every instruction set; patches that reach over the edges, panels that are not full.
  ...(
    [
      [1, 14, 14, 32, 32, 1],
      [1, 13, 15, 64, 80, 2],
      [1, 16, 12, 48, 64, 1],
      [1, 9, 41, 32, 144, 3],
      [1, 56, 5, 96, 32, 5],
      [1, 7, 9, 192, 144, 1], // many weights for few patches: those of 2x2
      [1, 10, 13, 160, 112, 3],
      [2, 27, 28, 32, 80, 2],
      [2, 16, 57, 48, 32, 1],
      [2, 14, 15, 64, 64, 3], // patches of 4x4
      [2, 27, 26, 160, 144, 1], // and of 2x2
      [2, 12, 11, 32, 48, 5],
    ] as const
  ).map(([stride, height, width, inputs, channels, batch]) =>
    opCase(
      `3x3/${stride} of ${inputs} to ${channels} channels on ${height}x${width}`,
      [height, width, inputs],
      x => fused(x, { channels, kernel: 3, stride }),
      { batch },
    ),
  ),
  // Groups: merged to fill a vector, too wide to merge, of odd numbers, depthwise.
  ...(
    [
      [2, 32, 32],
      [3, 9, 15],
      [4, 64, 128],
      [5, 25, 10],
      [6, 12, 18],
      [7, 21, 7],
      [32, 128, 128],
      [32, 256, 256],
      [8, 8, 16],
      [40, 40, 40],
      [13, 13, 13],
    ] as const
  ).map(([groups, inputs, channels]) =>
    opCase(
      `3x3 of ${inputs} to ${channels} channels in ${groups} groups`,
      [5, 6, inputs],
      x => fused(x, { channels, kernel: 3, groups }),
      { batch: 2 },
    ),
  ),
  opCase('7x7/2 depthwise', [9, 9, 19], x => fused(x, { channels: 19, kernel: 7, stride: 2, groups: 19 })),
  opCase('3x3 in 2 groups of 700', [3, 3, 1400], x =>
    convBN(x, { names, channels: 6, kernel: 3, groups: 2 }),
  ),
  // Max pools.
  ...(
    [
      [2, 2, 0],
      [3, 2, 1],
      [3, 1, 1],
      [5, 3, 2],
      [4, 4, 2],
      [2, 1, 1],
    ] as const
  ).map(([kernel, stride, padding]) =>
    opCase(`max pool ${kernel}x${kernel}/${stride} padded by ${padding}`, [9, 13, 19], x =>
      maxPool(x, { kernel, stride, padding }),
    ),
  ),
  // Average pools: before a 1x1 convolution, and by themselves.
  opCase('1x1 of means over 2x2', [10, 6, 48], x =>
    convBN(localAvgPool(x, { kernel: 2 }), { names, channels: 40, kernel: 1 }),
  ),
  opCase('means over 3x3', [9, 12, 19], x => relu(localAvgPool(x, { kernel: 3 }))),
  opCase('a mean over 61x47', [61, 47, 19], x => relu(x), { batch: 2 }),
  // What no convolution can absorb.
  opCase('batch norm, sum and ReLU alone', [4, 5, 21], x => {
    const pooled = maxPool(batchNorm(x, { name: 'first' }), { kernel: 2 })
    return add(relu(pooled), pooled)
  }),
  // Residuals that are needed otherwise, too.
  opCase(
    '1x1 of its own residual',
    [9, 13, 64],
    x => {
      const y = convBN(x, { names, channels: 80, kernel: 1 })
      return around(y, y, 'd', 80)
    },
    { batch: 2 },
  ),
  opCase('1x1 with a residual that is read again', [9, 13, 64], x => {
    const y = convBN(x, { names, channels: 80, kernel: 1 })
    const z = around(maxPool(y, { kernel: 3, stride: 1, padding: 1 }), y, 'd', 80)
    return around(z, y, 'e', 80)
  }),
  opCase('a value added to itself', [4, 4, 6], x => {
    const y = conv(x, { name: 'c', channels: 12, kernel: 1 })
    return relu(add(y, y))
  }),
  opCase('convolution without batch norm', [4, 4, 6], x =>
    relu(conv(x, { name: 'c', channels: 12, kernel: 3 })),
  ),
  // Gates per channel: of several widths, batches that are cut, gates that are read by something else as well.
  ...(
    [
      [1, 1, 1, 1],
      [5, 3, 7, 2],
      [6, 9, 64, 3],
      [4, 5, 19, 5],
    ] as const
  ).map(([height, width, channels, batch]) =>
    opCase(
      `squeeze and excitation of ${channels} channels on ${height}x${width}`,
      [height, width, channels],
      x => {
        const squeezed = relu(conv(globalAvgPool(x), { name: 'squeeze', channels: 3, kernel: 1 }))
        return channelGate(x, convBN(squeezed, { names, channels, kernel: 1 }))
      },
      { batch },
    ),
  ),
  opCase(
    'a gate on 200x200',
    [200, 200, 3],
    x => {
      const y = convBN(x, { names, channels: 48, kernel: 1 })
      return channelGate(y, globalAvgPool(y))
    },
    { batch: 3 },
  ),
  opCase(
    'a linear layer between others',
    [5, 4, 12],
    x => {
      const squeezed = relu(linear(globalAvgPool(x), { name: 'squeeze', classes: 5 }))
      return channelGate(x, linear(squeezed, { name: 'excite', classes: 12 }))
    },
    { batch: 2 },
  ),
  opCase('a pixel gated by itself', [1, 1, 10], x => channelGate(relu(x), relu(x)), { batch: 2 }),
  // Blocks.
  opCase('basic blocks', [9, 9, 8], x => {
    const y = basicBlock(x, { name: 'one', inner: 16, channels: 16, stride: 2 })
    return basicBlock(y, { name: 'two', inner: 16, channels: 16, stride: 1 })
  }),
  ...(['1x1', '3x3'] as const).map(strideOn =>
    opCase(
      `bottlenecks with the stride on the ${strideOn}`,
      [9, 7, 12],
      x => {
        const y = bottleneck(x, { name: 'one', inner: 10, channels: 40, stride: 2, groups: 2, strideOn })
        return bottleneck(y, { name: 'two', inner: 10, channels: 40, stride: 1, groups: 1, strideOn })
      },
      { batch: 3 },
    ),
  ),
]
