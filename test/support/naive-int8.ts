// What a plan in fewer bits computes, the slow, plain version: int8 to the bit, bf16 and fp32 summed in float64 and rounded once.
//
// docs/precision.md has the arithmetic. Every operation computes in the precision of its `src`.
import type { ConvOp, LinearOp, NormalizeOp, Op } from '../../lib/model/ops.ts'
import { elements, inputShape, type Plan, type PlanValue } from '../../lib/model/plan.ts'
import { readFolded } from '../../lib/weights/op-weights.ts'
import type { WeightSource } from '../../lib/weights/source.ts'
import { decodeBFloat16, encodeBFloat16 } from '../../lib/weights/tensors/float16.ts'

/** `[N,H,W,C]` as they are kept; bf16 and fp32 as float32. */
export type Numbers = Int8Array | Uint8Array | Float32Array

/** `[K,C/groups,R,S]` or `[K,C]`, and the scale of each output channel, `[K]`. */
export interface IntegerWeights {
  readonly weight: Int8Array
  readonly scale: Float32Array
}

/** The weights of a network, and by operation those that are stored as integers; the others are rounded to integers here. */
export interface ReducedWeights {
  readonly source: WeightSource
  readonly integers?: ReadonlyMap<string, IntegerWeights>
}

/** Runs a plan on a batch of bytes `[N,H,W,C]`. Returns every value of the plan, as it is kept. */
export async function runReduced(
  plan: Plan,
  weights: ReducedWeights,
  input: Uint8Array,
): Promise<readonly Numbers[]> {
  const n = input.length / elements(inputShape(plan))
  const values: Numbers[] = []
  for (const op of plan.ops) values[op.dst] = await runOp(plan, op, weights, values, input, n)
  return values
}

/** Numbers as float32. */
export function asFloats(data: Numbers, { scale }: PlanValue): Float32Array {
  if (data instanceof Float32Array) return data
  return Float32Array.from(data, q => q * Math.fround(scale!))
}

async function runOp(
  plan: Plan,
  op: Op,
  weights: ReducedWeights,
  values: readonly Numbers[],
  input: Uint8Array,
  n: number,
): Promise<Numbers> {
  const dst = plan.values[op.dst]!
  if (op.kind === 'normalize') return dst.precision === 'uint8' ? input : normalized(op, input, dst)
  const [src, data] = [plan.values[op.src]!, values[op.src]!]
  switch (op.kind) {
    case 'conv':
    case 'linear':
      return data instanceof Float32Array
        ? floatConv(plan, op, weights, values, n)
        : integerConv(plan, op, weights, values, n)
    case 'maxPool': {
      const result = made(dst, n * elements(dst))
      const row = { ...op, groups: src.channels }
      overWindows(src, dst, row, n, (at, taps) => {
        for (let c = 0; c < dst.channels; c++)
          result[at + c] = Math.max(...taps.flatMap(tap => (tap < 0 ? [] : [data[tap + c]!])))
      })
      return result
    }
    case 'globalAvgPool': {
      const [pixels, c] = [src.height * src.width, src.channels]
      const sums = new Float64Array(n * c)
      for (const [i, x] of data.entries()) sums[Math.floor(i / (pixels * c)) * c + (i % c)]! += x
      return Float32Array.from(sums, sum => (sum * Math.fround(src.scale ?? 1)) / pixels)
    }
    case 'convert':
      return converted(data, src, dst)
    case 'channelGate': {
      const gate = values[op.gate]!
      const [perImage, c] = [elements(src), src.channels]
      return Float32Array.from(data, (x, i) => x * gate[Math.floor(i / perImage) * c + (i % c)]!)
    }
    case 'sigmoid':
      return Float32Array.from(data, x => 1 / (1 + Math.exp(-x)))
    case 'softmax': {
      const result = new Float32Array(data.length)
      for (let at = 0; at < data.length; at += src.channels) {
        const logits = Array.from(data.subarray(at, at + src.channels))
        const largest = Math.max(...logits)
        const sum = logits.reduce((total, x) => total + Math.exp(x - largest), 0)
        for (const [c, x] of logits.entries()) result[at + c] = Math.exp(x - largest) / sum
      }
      return result
    }
  }
}

/** Rounded to an integer, ties to even: adding 1.5 * 2^52 leaves no bits for a fraction. */
export function rint(x: number): number {
  const noFraction = 1.5 * 2 ** 52
  return Math.abs(x) < 2 ** 51 ? x + noFraction - noFraction : x
}

const clamp = (x: number, least: number, most: number) => Math.min(Math.max(x, least), most)
const mostStart = 2 ** 30

/** An array for numbers of a value. */
function made({ precision }: PlanValue, length: number): Numbers {
  if (precision === 'int8') return new Int8Array(length)
  return precision === 'uint8' ? new Uint8Array(length) : new Float32Array(length)
}

const bf16 = new Uint16Array(1)
const asFloat = new Float32Array(1)

function toBFloat16(x: number): number {
  bf16[0] = encodeBFloat16(x)
  decodeBFloat16(bf16, asFloat)
  return asFloat[0]!
}

/** A float as a value keeps it: of int8, the integer. */
function kept(x: number, { precision, scale }: PlanValue): number {
  if (precision === 'bf16') return toBFloat16(x)
  if (precision !== 'int8' && precision !== 'uint8') return x
  const [least, most] = precision === 'int8' ? [-127, 127] : [0, 255]
  return clamp(rint(Math.fround(Math.fround(x) * Math.fround(1 / Math.fround(scale!)))), least, most)
}

function converted(data: Numbers, src: PlanValue, dst: PlanValue): Numbers {
  const result = made(dst, data.length)
  for (const [i, x] of asFloats(data, src).entries()) result[i] = kept(x, dst)
  return result
}

function normalized({ mean, std }: NormalizeOp, input: Uint8Array, dst: PlanValue): Numbers {
  return Float32Array.from(input, (byte, i) => {
    const c = i % dst.channels
    return kept((byte / 255 - Math.fround(mean[c]!)) / Math.fround(std[c]!), dst)
  })
}

type Weighted = ConvOp | LinearOp
interface Windows {
  readonly kernel: number
  readonly stride: number
  readonly padding: number
  readonly groups: number
}

const windowsOf = (op: Weighted): Windows =>
  op.kind === 'conv' ? op : { kernel: 1, stride: 1, padding: 0, groups: 1 }

/** Sums of float64, rounded once. */
async function floatConv(
  plan: Plan,
  op: Weighted,
  { source }: ReducedWeights,
  values: readonly Numbers[],
  n: number,
): Promise<Numbers> {
  const [src, dst] = [plan.values[op.src]!, plan.values[op.dst]!]
  const { weight, bias } = await readFolded(plan, op, source)
  const used = src.precision === 'bf16' ? weight.map(toBFloat16) : weight
  const packed = packedBy(Float64Array, used, plan, op)
  const residual = op.kind === 'conv' && op.residual !== null ? values[op.residual]! : undefined
  const relu = op.kind === 'conv' && op.relu
  const result = made(dst, n * elements(dst))
  const sums = new Float64Array(dst.channels)
  overWindows(src, dst, windowsOf(op), n, (at, taps) => {
    sums.set(bias)
    multiply(sums, packed, values[op.src]!, taps, src.channels, windowsOf(op).groups)
    for (let k = 0; k < sums.length; k++) {
      const v = Math.fround(sums[k]! + (residual ? residual[at + k]! : 0))
      result[at + k] = kept(relu ? Math.max(v, 0) : v, dst)
    }
  })
  return result
}

/** Sums of integers, scaled in float32: the arithmetic that every instruction set shares. */
async function integerConv(
  plan: Plan,
  op: Weighted,
  weights: ReducedWeights,
  values: readonly Numbers[],
  n: number,
): Promise<Numbers> {
  const [src, dst] = [plan.values[op.src]!, plan.values[op.dst]!]
  const first = plan.ops[0] as NormalizeOp
  const bytes = op.src === first.dst ? first : null
  const { weight, scales, start } = await integersOf(plan, op, weights, bytes)
  const packed = packedBy(Int32Array, weight, plan, op)
  const border = bytes?.mean.map(zeroByte)
  const out = Math.fround(dst.scale ?? 1)
  const factors = Float32Array.from(scales, scale => scale / out)
  const relu = op.kind === 'conv' && op.relu
  const other = op.kind === 'conv' && op.residual !== null ? op.residual : undefined
  const residual = other === undefined ? undefined : values[other]!
  const otherFactor = Math.fround(other === undefined ? 0 : Math.fround(plan.values[other]!.scale!) / out)
  const [least, most] = dst.precision === 'int8' ? [-127, 127] : [0, 255]
  const isInteger = dst.precision === 'int8' || dst.precision === 'uint8'

  const result = made(dst, n * elements(dst))
  const sums = new Int32Array(dst.channels)
  overWindows(src, dst, windowsOf(op), n, (at, taps) => {
    sums.set(start)
    multiply(sums, packed, values[op.src]!, taps, src.channels, windowsOf(op).groups, border)
    for (let k = 0; k < sums.length; k++) {
      let v = Math.fround(Math.fround(sums[k]!) * factors[k]!)
      if (residual) v = Math.fround(v + Math.fround(residual[at + k]! * otherFactor))
      if (relu) v = Math.max(v, 0)
      result[at + k] = isInteger ? clamp(rint(v), least, most) : v
    }
  })
  return result
}

/** Integers, the scales of sums of their products by output channel, and what the sums start from, `[K]`. */
interface Rounded {
  readonly weight: Int8Array
  readonly scales: Float64Array
  readonly start: Int32Array
}

/**
 * Weights that are stored as integers are used as they are, unless a sum could not start from the bias; others are rounded here.
 * Where the image's bytes are read the normalisation is part of the weights, and the mean of the bytes, times the rounded
 * weights, of the start.
 */
async function integersOf(
  plan: Plan,
  op: Weighted,
  { source, integers }: ReducedWeights,
  bytes: NormalizeOp | null,
): Promise<Rounded> {
  const { weight: folded, bias } = await readFolded(plan, op, source)
  const { kernel, groups } = windowsOf(op)
  const [taps, each, perGroup] = [kernel ** 2, folded.length / bias.length, bias.length / groups]
  const src = Math.fround(plan.values[op.src]!.scale!)
  const given = bytes ? undefined : integers?.get(op.name)
  const weight = given ? given.weight.slice() : new Int8Array(folded.length)
  const scales = new Float64Array(bias.length)
  const start = Int32Array.from(bias, (b, k) => {
    const first = Math.floor(k / perGroup) * (each / taps)
    const inputOf = (i: number) => first + Math.floor(i / taps)
    let scale = given?.scale[k] ?? 0
    if (scale === 0 || Math.abs(b) > src * scale * mostStart) {
      const row = Float32Array.from({ length: each }, (_, i) => {
        const w = given ? given.weight[k * each + i]! * scale : folded[k * each + i]!
        return bytes ? w / (255 * Math.fround(bytes.std[inputOf(i)]!)) : w
      })
      scale = scaleOf(row, b, src)
      for (const [i, w] of row.entries()) weight[k * each + i] = rint(w / scale)
    }
    let zeros = 0
    if (bytes)
      for (let i = 0; i < each; i++)
        zeros += weight[k * each + i]! * 255 * Math.fround(bytes.mean[inputOf(i)]!)
    scales[k] = src * scale
    return clamp(rint(b / (src * scale) - zeros), -mostStart, mostStart)
  })
  return { weight, scales, start }
}

/** The least scale that gives no weight more than 127, nor the sums a start that an int32 does not hold well. */
function scaleOf(row: Float32Array, bias: number, src: number): number {
  const largest = row.reduce((most, w) => Math.max(most, Math.abs(w)), 0)
  return Math.fround(Math.max(largest / 127, Math.abs(bias) / (src * mostStart))) || 1
}

/** The byte nearest to what stands for zero, which padding reads. */
const zeroByte = (mean: number) => clamp(rint(255 * Math.fround(mean)), 0, 255)

/** `[K,C/groups,R,S]` in the order of the sums: `[R,S,C/groups,K]`. */
function packedBy<Packed extends Float64Array | Int32Array>(
  Kind: new (length: number) => Packed,
  weight: ArrayLike<number>,
  plan: Plan,
  op: Weighted,
): Packed {
  const channels = plan.values[op.dst]!.channels
  const taps = windowsOf(op).kernel ** 2
  const inputs = weight.length / channels / taps
  const packed = new Kind(weight.length)
  for (let k = 0, i = 0; k < channels; k++)
    for (let c = 0; c < inputs; c++)
      for (let tap = 0; tap < taps; tap++) packed[(tap * inputs + c) * channels + k] = weight[i++]!
  return packed
}

/** Adds the products of a window to `sums`, `[K]`. Taps outside of the image read `border`, `[C]`, or nothing. */
function multiply(
  sums: Float64Array | Int32Array,
  packed: Float64Array | Int32Array,
  data: Numbers,
  taps: readonly number[],
  channels: number,
  groups: number,
  border?: readonly number[],
): void {
  const outputs = sums.length
  const [inputs, perGroup] = [channels / groups, outputs / groups]
  for (let tap = 0; tap < taps.length; tap++) {
    const at = taps[tap]!
    if (at < 0 && !border) continue
    for (let c = 0; c < channels; c++) {
      const x = at < 0 ? border![c]! : data[at + c]!
      if (x === 0) continue
      const group = Math.floor(c / inputs)
      const row = (tap * inputs + (c - group * inputs)) * outputs
      for (let k = group * perGroup; k < (group + 1) * perGroup; k++) sums[k]! += x * packed[row + k]!
    }
  }
}

/** Calls `pixel` with the place of every output pixel and those of its window's pixels, -1 for one outside of the image. */
function overWindows(
  src: PlanValue,
  dst: PlanValue,
  { kernel, stride, padding }: Windows,
  n: number,
  pixel: (at: number, taps: readonly number[]) => void,
): void {
  const taps: number[] = []
  let at = 0
  for (let image = 0; image < n; image++)
    for (let oy = 0; oy < dst.height; oy++)
      for (let ox = 0; ox < dst.width; ox++, at += dst.channels) {
        for (let r = 0; r < kernel; r++)
          for (let s = 0; s < kernel; s++) {
            const [y, x] = [oy * stride - padding + r, ox * stride - padding + s]
            const inside = y >= 0 && y < src.height && x >= 0 && x < src.width
            taps[r * kernel + s] = inside ? ((image * src.height + y) * src.width + x) * src.channels : -1
          }
        pixel(at, taps)
      }
}
