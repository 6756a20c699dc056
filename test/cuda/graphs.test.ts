// Graphs that the backend does not build today, compiled by cuDNN and executed by the twin, against loops written here.
import { describe, expect, it } from 'vitest'
import { decodeBFloat16, decodeFloat16, encodeBFloat16, encodeFloat16 } from '../../lib/weights/float16.ts'
import { seeded } from '../support/files.ts'
import {
  fromHex,
  type Graph,
  type GraphNode,
  type GraphTensor,
  probe,
  type Step,
  toHex,
} from '../support/probe.ts'
import { noTwin } from '../support/twin.ts'

type Dim = readonly [n: number, c: number, h: number, w: number]

/** How numbers of a type are kept, and what becomes of one that it does not have. */
interface Kind {
  readonly name: string
  readonly encode: (values: ArrayLike<number>) => Float32Array | Uint16Array | Int8Array | Int32Array
  readonly decode: (bytes: ArrayBuffer) => ArrayLike<number>
}
const decoded = (decode: (from: Uint16Array, to: Float32Array) => void) => (bytes: ArrayBuffer) => {
  const to = new Float32Array(bytes.byteLength / 2)
  decode(new Uint16Array(bytes), to)
  return to
}
const half: Kind = {
  name: 'CUDNN_DATA_HALF',
  encode: values => Uint16Array.from(values, encodeFloat16),
  decode: decoded(decodeFloat16),
}
const bfloat16: Kind = {
  name: 'CUDNN_DATA_BFLOAT16',
  encode: values => Uint16Array.from(values, encodeBFloat16),
  decode: decoded(decodeBFloat16),
}
const float: Kind = {
  name: 'CUDNN_DATA_FLOAT',
  encode: values => Float32Array.from(values),
  decode: bytes => new Float32Array(bytes),
}
const int8: Kind = {
  name: 'CUDNN_DATA_INT8',
  encode: values => Int8Array.from(values, x => Math.min(127, Math.max(-128, toEven(x)))),
  decode: bytes => new Int8Array(bytes),
}
const int32: Kind = {
  name: 'CUDNN_DATA_INT32',
  encode: values => Int32Array.from(values),
  decode: bytes => new Int32Array(bytes),
}

function toEven(x: number): number {
  const below = Math.floor(x)
  if (x - below !== 0.5) return Math.round(x)
  return below % 2 === 0 ? below : below + 1
}

const size = (dim: Dim) => dim[0] * dim[1] * dim[2] * dim[3]
/** Channels last, `pixel` numbers from one pixel to the next: more than channels leave a gap. */
const channelsLast = ([, c, h, w]: Dim, pixel = c): Dim => [h * w * pixel, 1, w * pixel, pixel]
const tensor = (uid: number, kind: Kind, dim: Dim, stride = channelsLast(dim)): GraphTensor => ({
  uid,
  type: kind.name,
  dim,
  stride,
  isVirtual: false,
})
const virtual = (uid: number, kind: Kind, dim: Dim): GraphTensor => ({
  ...tensor(uid, kind, dim),
  isVirtual: true,
})
const offset = (stride: readonly number[], ...at: Dim) => at.reduce((sum, i, d) => sum + i * stride[d]!, 0)

function eachOf([n, c, h, w]: Dim, body: (...at: Dim) => void): void {
  for (let i = 0; i < n; i++)
    for (let j = 0; j < c; j++) for (let k = 0; k < h; k++) for (let l = 0; l < w; l++) body(i, j, k, l)
}

/** What a tensor is given or gives: its kind and all numbers of its memory, gaps included. */
interface Memory {
  readonly uid: number
  readonly kind: Kind
  readonly values: ArrayLike<number>
}

/** cuDNN compiles `graph` for `gpu`; the twin executes it. `dst` says what is in the memory of the result before. */
function execute(
  graph: Graph,
  sources: readonly Memory[],
  dst: Memory,
  { gpu = 'h100', precision = 'fp16' } = {},
) {
  const [plan] = probe([{ do: 'compile', graph, precision }], gpu)
  return executePlan(plan, sources, dst, precision)
}

function executePlan(plan: unknown, sources: readonly Memory[], dst: Memory, precision = 'fp16') {
  const all = [...sources, dst]
  const steps = all.flatMap(({ uid, kind, values }): Step[] => {
    const data = kind.encode(values)
    const [pinned, device, bytes] = [`pinned ${uid}`, `device ${uid}`, data.byteLength]
    return [
      { do: 'pinned', name: pinned, bytes },
      { do: 'fill', name: pinned, data: toHex(data) },
      { do: 'device', name: device, bytes },
      { do: 'upload', to: device, from: pinned, bytes },
    ]
  })
  const [pinned, device] = [`pinned ${dst.uid}`, `device ${dst.uid}`]
  const bytes = dst.kind.encode(dst.values).byteLength
  const [answer] = probe([
    ...steps,
    { do: 'wait' }, // what is copied up must not change below
    {
      do: 'execute',
      op: 'graph',
      plan: JSON.stringify(plan),
      precision,
      bind: all.map(({ uid }) => ({ uid, name: `device ${uid}` })),
    },
    { do: 'download', to: pinned, from: device, bytes },
    { do: 'wait' },
    { do: 'show', name: pinned },
  ])
  return Array.from(dst.kind.decode(fromHex(answer)))
}

/** As they come out again. */
const kept = (kind: Kind, values: ArrayLike<number>) =>
  Array.from(kind.decode(kind.encode(values).buffer as ArrayBuffer))

function random(length: number, from: number, to: number, seed = 1): number[] {
  const next = seeded(seed)
  return Array.from({ length }, () => from + next() * (to - from))
}

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
  const run = (node: Resample, x: GraphTensor, y: GraphTensor, kind: Kind, gpu?: string) => {
    const length = (t: GraphTensor) => offset(t.stride, ...(t.dim.map(d => d - 1) as unknown as Dim)) + 1
    const src = kept(kind, random(length(x), -100, 100))
    const before = kept(kind, random(length(y), -100, 100, 2))
    const given = { uid: 6, kind, values: before }
    const actual = execute({ tensors: [x, y], nodes: [node] }, [{ uid: 1, kind, values: src }], given, {
      gpu,
    })
    expect(actual).toEqual(kept(kind, pooled(node, x, y, src, before)))
  }

  it.each(pools)('is executed as plain loops do it: $mode of $type', ({ mode, padding, kind }) => {
    const node = { operation: 'resample', mode, padding, x: 1, y: 6 } as const
    const ofResnet = { ...node, window: [3, 3], pre: [1, 1], post: [1, 1], stride: [2, 2] } as const
    run(ofResnet, tensor(1, kind, [2, 16, 9, 9]), tensor(6, kind, [2, 16, 5, 5]), kind)
  })

  it.each(modes)('may have windows, strides and padding unlike in height and width: $mode', mode => {
    const node = { operation: 'resample', ...mode, x: 1, y: 6 } as const
    const uneven = { ...node, window: [2, 3], pre: [1, 0], post: [0, 2], stride: [1, 2] } as const
    run(uneven, tensor(1, half, [1, 8, 6, 9]), tensor(6, half, [1, 8, 6, 5]), half, 'a100')
    const whole = { ...node, window: [6, 9], pre: [0, 0], post: [0, 0], stride: [1, 1] } as const
    run(whole, tensor(1, half, [3, 8, 6, 9]), tensor(6, half, [3, 8, 1, 1]), half, 'a100')
  })

  it('goes by the strides of its tensors and writes nothing between them', () => {
    const node = { operation: 'resample', ...modes[0]!, x: 1, y: 6 } as const
    const ofResnet = { ...node, window: [3, 3], pre: [1, 1], post: [1, 1], stride: [2, 2] } as const
    const [from, to] = [[2, 8, 9, 9] as const, [2, 8, 5, 5] as const]
    run(
      ofResnet,
      tensor(1, half, from, channelsLast(from, 24)),
      tensor(6, half, to, channelsLast(to, 16)),
      half,
    )
  })
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

  it('gives sums above what float32 can count, where it writes them as int32', () => {
    const graph = {
      tensors: [tensor(1, int8, from), tensor(2, int8, window), tensor(6, int32, to)],
      nodes: [{ ...conv, y: 6 }],
    }
    const sources = [
      { uid: 1, kind: int8, values: src },
      { uid: 2, kind: int8, values: weight },
    ]
    const actual = execute(graph, sources, { uid: 6, kind: int32, values: Array(size(to)).fill(0) })
    expect(actual).toEqual(sums())
  })
})
