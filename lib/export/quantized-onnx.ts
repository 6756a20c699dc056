// Export of quantized networks to ONNX: floats throughout, with a pair of QuantizeLinear and DequantizeLinear wherever a number
// is kept in 8 bits, by which engines find what they can compute with integers (QDQ).
//
// All activations are uint8, also those that residual keeps as int8, which are then around 128: onnxruntime's integer operators
// want the same type in and out, and are fastest with uint8 times int8. The image is quantized too: the convolution that reads it
// would otherwise be computed in float32, for several times as long.
import type { ConvOp, NormalizeOp, Op } from '../model/ops.ts'
import type { Plan } from '../model/plan.ts'
import type { Quantization } from '../model/quantization.ts'
import { reducedPlan } from '../model/reduce.ts'
import { type PlanValue, valuePrecisions } from '../model/value.ts'
import { integerWeights, mostBias } from '../weights/integer-weights.ts'
import { takesWeights, type WeightedOp, weightShape } from '../weights/op-weights.ts'
import type { WeightSource } from '../weights/source.ts'
import { flatten, node, windows } from './onnx-nodes.ts'
import { finish, opNodes, readInside, tensorsOf } from './onnx-plan.ts'
import type { OnnxNode, OnnxTensor } from './onnx-schema.ts'

/** What an activation's integers, of uint8, stand for: `(integer - zeroPoint) * scale`. */
interface Scaling {
  readonly scale: number
  readonly zeroPoint: number
}

const center = 128 // of uint8, where int8 has 0
const most = 255

/**
 * The plan in int8, as `quantization` says; what is kept in bf16 is in float32. Inputs and outputs are those of {@link planToOnnx}.
 *
 * @param plan in float32
 * @throws ResidualError CHECKPOINT_MISMATCH for a quantization that is not of this plan, or whatever reading the weights throws
 */
export async function quantizedToOnnx(
  plan: Plan,
  weights: WeightSource,
  quantization: Quantization,
): Promise<Uint8Array> {
  const graph = new QuantizedGraph(reducedPlan(plan, { precision: 'int8', quantization, bf16: false }))
  return graph.encode(weights)
}

class QuantizedGraph {
  readonly #nodes: OnnxNode[] = []
  readonly #tensors: OnnxTensor[] = []
  readonly #inside: ReadonlySet<number>
  /** Values without negative numbers, for which the half of uint8 that int8 has for those would be wasted. */
  readonly #positive = new Set<number>()

  constructor(private readonly plan: Plan) {
    this.#inside = readInside(plan)
    for (const op of plan.ops) {
      const passes = op.kind === 'maxPool' || op.kind === 'globalAvgPool' || op.kind === 'convert'
      if (op.kind === 'conv' ? op.relu : passes && this.#positive.has(op.src)) this.#positive.add(op.dst)
    }
  }

  async encode(weights: WeightSource): Promise<Uint8Array> {
    for (const op of this.plan.ops) await this.#add(op, weights)
    return finish(this.plan, this.#nodes, this.#tensors, index => this.#value(index))
  }

  /** The name of a value's numbers, as floats. */
  #value(index: number): string {
    return index === this.plan.ops[0]!.dst && !this.#isQuantized(index) ? 'x' : `v${index}`
  }

  #isQuantized(index: number): boolean {
    return isQuantized(this.plan.values[index]!)
  }

  #scaling(index: number): Scaling {
    const [image, { precision, scale = 1 }] = [this.plan.ops[0] as NormalizeOp, this.plan.values[index]!]
    if (index === image.dst && precision === 'uint8') return imageScaling(image)
    return { scale, zeroPoint: precision === 'uint8' || this.#positive.has(index) ? 0 : center }
  }

  async #add(op: Op, weights: WeightSource): Promise<void> {
    const quantizes = this.#isQuantized(op.dst)
    const dst = this.#value(op.dst)
    const made = quantizes ? `${dst}_float` : dst
    if (op.kind === 'normalize') {
      if (quantizes) this.#quantize('x', dst, this.#scaling(op.dst))
    } else if (op.kind === 'convert') {
      if (quantizes) this.#quantize(this.#value(op.src), dst, this.#scaling(op.dst))
      else this.#nodes.push(node('Identity', [this.#value(op.src)], dst))
    } else {
      if (takesWeights(op) && this.#isQuantized(op.src)) await this.#weighted(op, made, weights)
      else await this.#plain(op, made, weights)
      if (quantizes) this.#quantize(made, dst, this.#scaling(op.dst))
    }
  }

  /** An operation on floats, whose operands may have been in 8 bits. */
  async #plain(op: Op, made: string, weights: WeightSource): Promise<void> {
    const isInner = op.kind === 'linear' && this.#inside.has(op.dst)
    if (takesWeights(op)) this.#tensors.push(...(await tensorsOf(this.plan, op, weights, isInner)))
    this.#nodes.push(...opNodes(op, index => (index === op.dst ? made : this.#value(index)), isInner))
  }

  /** An operation that is computed with integers. */
  async #weighted(op: WeightedOp, made: string, weights: WeightSource): Promise<void> {
    const src = this.#scaling(op.src).scale
    const { integers, scale, bias } = await integerWeights(this.plan, op, weights, src)
    const isInner = op.kind === 'linear' && this.#inside.has(op.dst)
    const shape = weightShape(this.plan, op)
    const parameters = [
      this.#constant(`${op.name}.weight`, isInner ? [...shape, 1, 1] : shape, integers, scale),
      this.#constant(
        `${op.name}.bias`,
        [bias.length],
        Int32Array.from(bias, (value, k) => clamped(value / (src * scale[k]!))),
        scale.map(each => each * src),
      ),
    ]
    if (op.kind === 'conv') return this.#convolution(op, parameters, made)
    if (isInner) {
      const window = windows({ kernel: 1, stride: 1, padding: 0 }, 1)
      this.#nodes.push(node('Conv', [this.#value(op.src), ...parameters], made, window))
      return
    }
    this.#nodes.push(flatten(this.#value(op.src), `${made}_flat_float`))
    this.#quantize(`${made}_flat_float`, `${made}_flat`, this.#scaling(op.src))
    this.#nodes.push(node('Gemm', [`${made}_flat`, ...parameters], made, { transB: { i: 1 } }))
  }

  /**
   * The sum is of numbers in 8 bits, which are what onnxruntime adds without making floats of them first. Nothing tells how far
   * those before the addition reach; their range is what can make a difference behind it.
   */
  #convolution(op: ConvOp, parameters: readonly string[], made: string): void {
    const steps: ((src: string, dst: string) => void)[] = [
      (src, to) => this.#nodes.push(node('Conv', [src, ...parameters], to, windows(op, op.groups))),
    ]
    if (op.residual !== null) {
      if (this.#isQuantized(op.dst)) steps.push((src, to) => this.#quantize(src, to, this.#summand(op)))
      steps.push((src, to) => this.#nodes.push(node('Add', [src, this.#value(op.residual!)], to)))
    }
    if (op.relu) steps.push((src, to) => this.#nodes.push(node('Relu', [src], to)))
    let src = this.#value(op.src)
    for (const [i, step] of steps.entries()) {
      const to = i === steps.length - 1 ? made : `v${op.dst}_${i}`
      step(src, to)
      src = to
    }
  }

  #summand({ residual, dst }: ConvOp): Scaling {
    const [added, sum] = [this.#range(residual!), this.#range(dst)]
    const [least, greatest] = [sum.least - added.greatest, sum.greatest - added.least]
    const scale = (greatest - least) / most
    return { scale, zeroPoint: Math.round(-least / scale) }
  }

  /** Of the numbers that residual keeps. */
  #range(index: number): { readonly least: number; readonly greatest: number } {
    const { precision, scale = 1 } = this.plan.values[index]!
    const greatest = (precision === 'uint8' ? most : most - center) * scale
    return { least: precision === 'uint8' || this.#positive.has(index) ? 0 : -greatest, greatest }
  }

  /** A pair of nodes that round `src`. */
  #quantize(src: string, dst: string, { scale, zeroPoint }: Scaling): void {
    const scaling = [`${dst}_scale`, `${dst}_zero_point`]
    this.#tensors.push({ name: scaling[0]!, dims: [], data: Float32Array.of(scale) })
    this.#tensors.push({ name: scaling[1]!, dims: [], data: Uint8Array.of(zeroPoint) })
    this.#nodes.push(node('QuantizeLinear', [src, ...scaling], `${dst}_quantized`))
    this.#nodes.push(node('DequantizeLinear', [`${dst}_quantized`, ...scaling], dst))
  }

  /** A tensor of integers, with a scale for each index of its first dimension; the name of the numbers that they stand for. */
  #constant(
    name: string,
    dims: readonly number[],
    data: Int8Array | Int32Array,
    scale: Float64Array,
  ): string {
    const zeros = data instanceof Int8Array ? new Int8Array(scale.length) : new Int32Array(scale.length)
    this.#tensors.push({ name, dims, data })
    this.#tensors.push({ name: `${name}_scale`, dims: [scale.length], data: Float32Array.from(scale) })
    this.#tensors.push({ name: `${name}_zero_point`, dims: [scale.length], data: zeros })
    const inputs = [name, `${name}_scale`, `${name}_zero_point`]
    this.#nodes.push(node('DequantizeLinear', inputs, `${name}_float`, { axis: { i: 0 } }))
    return `${name}_float`
  }
}

const isQuantized = ({ precision = 'fp32' }: PlanValue) => valuePrecisions[precision].scaled

const clamped = (value: number) => Math.max(-mostBias, Math.min(mostBias, Math.round(value)))

/** One scaling for normalised images, by which their bytes' numbers are all within its range, 0 being exact: padding adds those. */
function imageScaling({ mean, std }: NormalizeOp): Scaling {
  const least = Math.min(0, ...mean.map((value, c) => -value / std[c]!))
  const greatest = Math.max(0, ...mean.map((value, c) => (1 - value) / std[c]!))
  const zeroPoint = Math.round((-least / (greatest - least)) * most)
  const below = zeroPoint === 0 ? 0 : -least / zeroPoint
  const above = zeroPoint === most ? 0 : greatest / (most - zeroPoint)
  return { scale: Math.max(below, above), zeroPoint }
}
