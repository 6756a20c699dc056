import { describe, expect, it } from 'vitest'
import { type Dim, executePlan, float, half, size, tensor, virtual } from '../support/graphs.ts'
import { compiled, type Graph } from '../support/probe.ts'
import { noTwin } from '../support/twin.ts'

describe.skipIf(noTwin)('a plan that the twin cannot execute', () => {
  const dim = [1, 8, 4, 4] as const
  const [none, one] = [[0, 0] as const, [1, 1] as const]
  const pool = {
    operation: 'resample',
    mode: 'CUDNN_RESAMPLE_MAXPOOL',
    padding: 'CUDNN_NEG_INF_PAD',
    window: one,
    pre: none,
    post: none,
    stride: one,
    x: 1,
    y: 6,
  } as const
  const conv = {
    operation: 'conv',
    math: float.name,
    pre: none,
    post: none,
    stride: one,
    dilation: one,
    x: 1,
    w: 2,
    y: 6,
  } as const
  const [x, w, y] = [tensor(1, half, dim), tensor(2, half, [8, 8, 1, 1]), tensor(6, half, dim)]
  const pointwise = { operation: 'pointwise', mode: 'CUDNN_POINTWISE_TANH_FWD', x: 7, y: 6 } as const
  const graphs: { readonly [name: string]: Graph } = {
    pool: { tensors: [x, y], nodes: [pool] },
    conv: { tensors: [x, w, y], nodes: [conv] },
    tanh: { tensors: [x, w, virtual(7, float, dim), y], nodes: [{ ...conv, y: 7 }, pointwise] },
  }
  const plans = new Map<string, string>()
  function planOf(name: string): string {
    const text = plans.get(name) ?? JSON.stringify(compiled(graphs[name]!, 'fp16', 'h100'))
    plans.set(name, text)
    return text
  }

  /** What in the plan that cuDNN made is replaced by what. */
  const cases = [
    ['tanh', '', '', 'unknown mode CUDNN_POINTWISE_TANH_FWD'],
    ['pool', '"CUDNN_DATA_HALF"', '"CUDNN_DATA_FP8_E4M3"', 'unknown type CUDNN_DATA_FP8_E4M3'],
    ['pool', 'CUDNN_RESAMPLE_MAXPOOL', 'CUDNN_RESAMPLE_NEAREST', 'unknown mode CUDNN_RESAMPLE_NEAREST'],
    [
      ...['pool', 'CUDNN_NEG_INF_PAD', 'CUDNN_EDGE_VAL_PAD'],
      'unknown mode CUDNN_RESAMPLE_MAXPOOL with padding CUDNN_EDGE_VAL_PAD',
    ],
    ['pool', '"windowDim":[[1,1],', '"windowDim":[[3,2],', 'a window of fractions of pixels'],
    [
      'pool',
      'OPERATION_RESAMPLE_FWD',
      'OPERATION_MATMUL',
      'unknown operation CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR',
    ],
    ['conv', 'CUDNN_CROSS_CORRELATION', 'CUDNN_CONVOLUTION', 'unknown mode CUDNN_CONVOLUTION'],
    [
      'conv',
      '"mathPrec":"CUDNN_DATA_FLOAT"',
      '"mathPrec":"CUDNN_DATA_HALF"',
      'unknown mathPrec CUDNN_DATA_HALF',
    ],
    ['conv', '"alpha":1', '"alpha":2', 'alpha 2.0'],
    [
      'conv',
      '"mathPrec":"CUDNN_DATA_FLOAT"',
      '"mathPrec":"CUDNN_DATA_INT32"',
      'not of the type it computes in',
    ],
  ] as const

  it.each(cases)('is refused: %s with %s as %s', (name, from, to, message) => {
    const text = planOf(name)
    const plan = JSON.parse(text.replaceAll(from, to))
    if (from) expect(text).toContain(from)
    const values = Array(size(dim)).fill(1)
    const sources = graphs[name]!.tensors.filter(({ uid }) => uid < 6).map(({ uid, dim }) => ({
      uid,
      kind: half,
      values: values.slice(0, size(dim as Dim)),
    }))
    expect(() => executePlan(plan, sources, { uid: 6, kind: half, values })).toThrow(message)
  })
})
