// Graphs that the backend does not build today, compiled by cuDNN and executed by the twin, against loops written here.
import { describe, expect, it } from 'vitest'
import {
  bfloat16,
  channelsLast,
  type Dim,
  eachOf,
  execute,
  extentOf,
  float,
  half,
  int8,
  int32,
  type Kind,
  kept,
  offset,
  random,
  rowsLast,
  size,
  tensor,
  virtual,
} from '../support/graphs.ts'
import type { Graph, GraphNode, GraphTensor } from '../support/probe.ts'
import { noTwin } from '../support/twin.ts'

type Resample = Extract<GraphNode, { operation: 'resample' }>

/** Every number of `y`'s memory after pooling, `before` where nothing is written. */
function pooled(
  node: Resample,
  x: GraphTensor,
  y: GraphTensor,
  src: ArrayLike<number>,
  before: ArrayLike<number>,
) {
  const result = Array.from(before)
  eachOf(y.dim as Dim, (n, c, p, q) => {
    const inside: number[] = []
    for (let r = 0; r < node.window[0]; r++) {
      for (let s = 0; s < node.window[1]; s++) {
        const [h, w] = [p * node.stride[0] - node.pre[0] + r, q * node.stride[1] - node.pre[1] + s]
        if (h >= 0 && h < x.dim[2]! && w >= 0 && w < x.dim[3]!)
          inside.push(src[offset(x.stride, n, c, h, w)]!)
      }
    }
    const sum = inside.reduce((a, b) => a + b, 0)
    const value = {
      CUDNN_RESAMPLE_MAXPOOL: Math.max(...inside),
      CUDNN_RESAMPLE_AVGPOOL_INCLUDE_PADDING: sum / (node.window[0] * node.window[1]),
      CUDNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING: sum / inside.length,
    }[node.mode]
    result[offset(y.stride, n, c, p, q)] = value!
  })
  return result
}

const modes = [
  { mode: 'CUDNN_RESAMPLE_MAXPOOL', padding: 'CUDNN_NEG_INF_PAD' },
  { mode: 'CUDNN_RESAMPLE_AVGPOOL_INCLUDE_PADDING', padding: 'CUDNN_ZERO_PAD' },
  { mode: 'CUDNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING', padding: 'CUDNN_ZERO_PAD' },
]
const kinds = [half, bfloat16, float, int8]
const pools = modes.flatMap(mode => kinds.map(kind => ({ ...mode, kind, type: kind.name })))

describe.skipIf(noTwin)('a resample graph of cuDNN', () => {
  const run = (node: Resample, x: GraphTensor, y: GraphTensor, kind: Kind) => {
    const src = kept(kind, random(extentOf(x), -100, 100))
    const before = kept(kind, random(extentOf(y), -100, 100, 2))
    const given = { uid: 6, kind, values: before }
    const graph = { tensors: [x, y], nodes: [node] }
    const options = { gpu: 'h100' } // for which cuDNN compiles these fastest
    const actual = execute(graph, [{ uid: 1, kind, values: src }], given, options)
    expect(actual).toEqual(kept(kind, pooled(node, x, y, src, before)))
  }

  it.each(pools)('gives the results of plain loops: $mode of $type', ({ mode, padding, kind }) => {
    const node = { operation: 'resample', mode, padding, x: 1, y: 6 } as const
    const ofResnet = { ...node, window: [3, 3], pre: [1, 1], post: [1, 1], stride: [2, 2] } as const
    run(ofResnet, tensor(1, kind, [2, 16, 9, 9]), tensor(6, kind, [2, 16, 5, 5]), kind)
  })

  it.each(modes)('may have different windows, strides and padding in height and width: $mode', mode => {
    const node = { operation: 'resample', ...mode, x: 1, y: 6 } as const
    const uneven = { ...node, window: [2, 3], pre: [1, 0], post: [0, 2], stride: [1, 2] } as const
    run(uneven, tensor(1, half, [1, 8, 6, 9]), tensor(6, half, [1, 8, 6, 5]), half)
    const whole = { ...node, window: [6, 9], pre: [0, 0], post: [0, 0], stride: [1, 1] } as const
    run(whole, tensor(1, half, [3, 8, 6, 9]), tensor(6, half, [3, 8, 1, 1]), half)
  })

  it('follows the strides of its tensors', () => {
    const node = { operation: 'resample', ...modes[0]!, x: 1, y: 6 } as const
    const ofResnet = { ...node, window: [3, 3], pre: [1, 1], post: [1, 1], stride: [2, 2] } as const
    const [from, to] = [[2, 8, 9, 9] as const, [2, 8, 5, 5] as const]
    run(ofResnet, tensor(1, half, from, rowsLast(from)), tensor(6, half, to, rowsLast(to)), half)
  })
})

/** What a number becomes where it is multiplied in tf32: ten bits of mantissa, ties away from zero. */
function tf32(x: number): number {
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(x))) - 10)
  return x === 0 ? 0 : Math.sign(x) * Math.floor(Math.abs(x) / unit + 0.5) * unit
}

describe.skipIf(noTwin)('a convolution of cuDNN', () => {
  const same = (x: number) => x
  const cases = [
    { kind: half, precision: 'fp16', multiplied: same, largest: 30, layout: 'gaps between pixels' },
    { kind: bfloat16, precision: 'bf16', multiplied: same, largest: 30, layout: 'gaps between pixels' },
    { kind: float, precision: 'tf32', multiplied: tf32, largest: 6000, layout: 'gaps between pixels' },
    { kind: half, precision: 'fp16', multiplied: same, largest: 30, layout: 'channels first' },
  ]

  it.each(cases)(
    'is executed to the last bit in $precision, with $layout, of dilated windows and strides',
    ({ kind, precision, multiplied, largest, layout }) => {
      const [from, window, to] = [[2, 8, 9, 9] as const, [16, 8, 3, 3] as const, [2, 16, 4, 4] as const]
      const first = layout === 'channels first'
      const x = tensor(1, kind, from, first ? rowsLast(from) : channelsLast(from, 16))
      const w = tensor(2, kind, window, first ? rowsLast(window) : channelsLast(window))
      const y = tensor(6, kind, to, first ? rowsLast(to) : channelsLast(to, 24))
      const [pre, stride, dilation] = [[1, 1] as const, [2, 2] as const, [2, 2] as const]
      const conv = { operation: 'conv', math: float.name, pre, post: pre, stride, dilation } as const
      const graph = { tensors: [x, w, y], nodes: [{ ...conv, x: 1, w: 2, y: 6 }] }
      // Whole numbers, whose sums are exact in any order; only the result is rounded, and in tf32 the factors.
      const whole = (length: number, seed: number) => random(length, -largest, largest, seed).map(Math.round)
      const src = kept(kind, whole(extentOf(x), 1))
      const weight = kept(kind, random(extentOf(w), -30, 30, 2).map(Math.round))
      const before = kept(kind, whole(extentOf(y), 3))
      const expected = Array.from(before)
      eachOf(to, (n, k, p, q) => {
        let sum = 0
        eachOf([1, 8, 3, 3], (_, c, r, s) => {
          const [h, v] = [p * 2 - 1 + r * 2, q * 2 - 1 + s * 2]
          if (h < 0 || h >= 9 || v < 0 || v >= 9) return
          sum +=
            multiplied(src[offset(x.stride, n, c, h, v)]!) * multiplied(weight[offset(w.stride, k, c, r, s)]!)
        })
        expected[offset(y.stride, n, k, p, q)] = sum
      })
      const sources = [
        { uid: 1, kind, values: src },
        { uid: 2, kind, values: weight },
      ]
      const actual = execute(graph, sources, { uid: 6, kind, values: before }, { precision })
      expect(actual).toEqual(kept(kind, expected))
    },
  )
})

describe.skipIf(noTwin)('a convolution of int8', () => {
  const [batch, channels, extent, filters] = [2, 16, 6, 32]
  const [from, window, to] = [
    [batch, channels, extent, extent] as const,
    [filters, channels, 3, 3] as const,
    [batch, filters, extent, extent] as const,
  ]
  const perChannel = [1, filters, 1, 1] as const
  const conv = {
    operation: 'conv',
    math: 'CUDNN_DATA_INT32',
    pre: [1, 1],
    post: [1, 1],
    stride: [1, 1],
    dilation: [1, 1],
    x: 1,
    w: 2,
  } as const
  const whole = (length: number, seed: number) => random(length, -128, 128, seed).map(Math.floor)
  const src = whole(size(from), 1)
  const weight = whole(size(window), 2)

  /** The sums, [N,H,W,K]. */
  function sums(): number[] {
    const [x, w, y] = [channelsLast(from), channelsLast(window), channelsLast(to)]
    const result = Array(size(to)).fill(0)
    eachOf(to, (n, k, p, q) => {
      eachOf([1, channels, 3, 3], (_, c, r, s) => {
        const [h, v] = [p - 1 + r, q - 1 + s]
        if (h < 0 || h >= extent || v < 0 || v >= extent) return
        result[offset(y, n, k, p, q)] += src[offset(x, n, c, h, v)]! * weight[offset(w, k, c, r, s)]!
      })
    })
    return result
  }

  it.each(['h100', 'a100'])(
    'with scale, bias, residual and ReLU is executed to the last bit as plain loops do it, as compiled for %s',
    gpu => {
      const mul = { operation: 'pointwise', mode: 'CUDNN_POINTWISE_MUL' } as const
      const add = { operation: 'pointwise', mode: 'CUDNN_POINTWISE_ADD' } as const
      const graph: Graph = {
        tensors: [
          ...[tensor(1, int8, from), tensor(2, int8, window), tensor(6, int8, to)],
          ...[tensor(3, float, perChannel), tensor(4, float, perChannel)],
          ...[tensor(5, int8, to), tensor(7, float, [1, 1, 1, 1])],
          ...[virtual(10, int32, to), virtual(11, float, to), virtual(12, float, to)],
          ...[virtual(13, float, to), virtual(14, float, to), virtual(15, float, to)],
        ],
        nodes: [
          { ...conv, y: 10 },
          { ...mul, x: 10, b: 3, y: 11 },
          { ...add, x: 11, b: 4, y: 12 },
          { ...mul, x: 5, b: 7, y: 13 },
          { ...add, x: 12, b: 13, y: 14 },
          { operation: 'pointwise', mode: 'CUDNN_POINTWISE_RELU_FWD', x: 14, y: 15 },
          { operation: 'pointwise', mode: 'CUDNN_POINTWISE_IDENTITY', x: 15, y: 6 },
        ],
      }
      // Half of the sums end below 0, some above 127, and powers of two make ties, which go to the even number.
      const scale = random(filters, 1, 3, 3).map((x, k) => (k % 2 === 0 ? 2 ** -10 : Math.fround(x / 1000)))
      const bias = random(filters, -20, 20, 4).map((x, k) => (k % 2 === 0 ? Math.round(x) : Math.fround(x)))
      const [residual, residualScale] = [whole(size(to), 5), Math.fround(0.37)]
      const expected = sums().map((sum, i) => {
        const k = i % filters
        const scaled = Math.fround(sum * scale[k]!)
        const biased = Math.fround(scaled + bias[k]!)
        return Math.max(Math.fround(biased + Math.fround(residual[i]! * residualScale)), 0)
      })
      const sources = [
        { uid: 1, kind: int8, values: src },
        { uid: 2, kind: int8, values: weight },
        { uid: 3, kind: float, values: scale },
        { uid: 4, kind: float, values: bias },
        { uid: 5, kind: int8, values: residual },
        { uid: 7, kind: float, values: [residualScale] },
      ]
      const actual = execute(graph, sources, { uid: 6, kind: int8, values: Array(size(to)).fill(0) }, { gpu })
      expect(actual).toEqual(kept(int8, expected))
      expect(actual.filter(x => x === 127).length).toBeGreaterThan(20) // saturated
      expect(actual.filter(x => x > 0 && x < 127).length).toBeGreaterThan(size(to) / 10)
    },
  )

  it("gives sums beyond float32's integers when it writes int32", () => {
    const [wide, by, sum] = [[1, 256, 3, 3] as const, [16, 256, 3, 3] as const, [1, 16, 1, 1] as const]
    const graph = {
      tensors: [tensor(1, int8, wide), tensor(2, int8, by), tensor(6, int32, sum)],
      nodes: [{ ...conv, pre: [0, 0], post: [0, 0], y: 6 } as const],
    }
    const large = (length: number, seed: number) => random(length, 100, 128, seed).map(Math.floor)
    const [pixels, weights] = [large(size(wide), 1), large(size(by), 2)]
    const expected = Array.from({ length: 16 }, (_, k) =>
      pixels.reduce((total, x, i) => total + x * weights[k * pixels.length + i]!, 0),
    )
    expect(expected.filter(x => x > 2 ** 24 && x % 2 === 1).length).toBeGreaterThan(3)
    const sources = [
      { uid: 1, kind: int8, values: pixels },
      { uid: 2, kind: int8, values: weights },
    ]
    expect(execute(graph, sources, { uid: 6, kind: int32, values: Array(16).fill(0) })).toEqual(expected)
  })
})
