// Compiles a graph with cuDNN and executes it on the twin. Numbers by type, tensors by stride.
import {
  decodeBFloat16,
  decodeFloat16,
  encodeBFloat16,
  encodeFloat16,
} from '../../lib/weights/tensors/float16.ts'
import { seeded } from './files.ts'
import {
  type CudnnReport,
  compiled,
  fromHex,
  type Graph,
  type GraphTensor,
  probe,
  type Step,
  toHex,
} from './probe.ts'
import { twinGpu } from './twin.ts'

export type Dim = readonly [n: number, c: number, h: number, w: number]

/** How numbers of a type are kept, and what becomes of one that it does not have. */
export interface Kind {
  readonly name: string
  readonly encode: (values: ArrayLike<number>) => Float32Array | Uint16Array | Int8Array | Int32Array
  readonly decode: (bytes: ArrayBuffer) => ArrayLike<number>
}
const decoded = (decode: (from: Uint16Array, to: Float32Array) => void) => (bytes: ArrayBuffer) => {
  const to = new Float32Array(bytes.byteLength / 2)
  decode(new Uint16Array(bytes), to)
  return to
}
export const half: Kind = {
  name: 'CUDNN_DATA_HALF',
  encode: values => Uint16Array.from(values, encodeFloat16),
  decode: decoded(decodeFloat16),
}
export const bfloat16: Kind = {
  name: 'CUDNN_DATA_BFLOAT16',
  encode: values => Uint16Array.from(values, encodeBFloat16),
  decode: decoded(decodeBFloat16),
}
export const float: Kind = {
  name: 'CUDNN_DATA_FLOAT',
  encode: values => Float32Array.from(values),
  decode: bytes => new Float32Array(bytes),
}
export const int8: Kind = {
  name: 'CUDNN_DATA_INT8',
  encode: values => Int8Array.from(values, x => Math.min(127, Math.max(-128, toEven(x)))),
  decode: bytes => new Int8Array(bytes),
}
export const int32: Kind = {
  name: 'CUDNN_DATA_INT32',
  encode: values => Int32Array.from(values),
  decode: bytes => new Int32Array(bytes),
}

function toEven(x: number): number {
  const below = Math.floor(x)
  if (x - below !== 0.5) return Math.round(x)
  return below % 2 === 0 ? below : below + 1
}

export const size = (dim: Dim) => dim[0] * dim[1] * dim[2] * dim[3]
/** Channels last, `pixel` numbers from one pixel to the next: more than channels leave a gap. */
export const channelsLast = ([, c, h, w]: Dim, pixel = c): Dim => [h * w * pixel, 1, w * pixel, pixel]
export const rowsLast = ([, c, h, w]: Dim): Dim => [c * h * w, h * w, w, 1]
export const tensor = (uid: number, kind: Kind, dim: Dim, stride = channelsLast(dim)): GraphTensor => ({
  uid,
  type: kind.name,
  dim,
  stride,
  isVirtual: false,
})
export const virtual = (uid: number, kind: Kind, dim: Dim): GraphTensor => ({
  ...tensor(uid, kind, dim),
  isVirtual: true,
})
export const offset = (stride: readonly number[], ...at: Dim) =>
  at.reduce((sum, i, d) => sum + i * stride[d]!, 0)

/** From the first number of a tensor to its last, gaps included. */
export const extentOf = ({ dim, stride }: GraphTensor) =>
  1 + dim.reduce((sum, d, i) => sum + (d - 1) * stride[i]!, 0)

export function eachOf([n, c, h, w]: Dim, body: (...at: Dim) => void): void {
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
export function execute(
  graph: Graph,
  sources: readonly Memory[],
  dst: Memory,
  { gpu = twinGpu, precision = 'fp16' } = {},
) {
  return executePlan(compiled(graph, precision, gpu), sources, dst, precision)
}

export function executePlan(plan: CudnnReport, sources: readonly Memory[], dst: Memory, precision = 'fp16') {
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
export const kept = (kind: Kind, values: ArrayLike<number>) =>
  Array.from(kind.decode(kind.encode(values).buffer as ArrayBuffer))

export function random(length: number, from: number, to: number, seed = 1): number[] {
  const next = seeded(seed)
  return Array.from({ length }, () => from + next() * (to - from))
}
