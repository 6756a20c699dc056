// The readers of an ONNX value, skipping nodes that only pass it on: identities, casts, dropouts, padding, transposes,
// pairs that quantize and dequantize.
import { refusedCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import { described, type OnnxModel, type OnnxNode } from './model.ts'
import {
  type ActivationRange,
  dequantizationOf,
  rangeOf,
  type Scaling,
  sameScaling,
  scalingOf,
} from './scaling.ts'
import type { OnnxTensor } from './tensor.ts'

/** The operations a ResNet may consist of. */
const knownOps = new Set(
  (
    'Conv BatchNormalization Relu Add Sum MaxPool GlobalAveragePool AveragePool ReduceMean Gemm MatMul Softmax LogSoftmax Sigmoid Pad ' +
    'Flatten Reshape Squeeze Identity Dropout Cast Transpose Constant Shape Gather Unsqueeze Concat Slice ' +
    'QuantizeLinear DequantizeLinear ConstantOfShape'
  ).split(' '),
)
const preprocessingOps = new Set(['Sub', 'Div', 'Mul', 'Resize', 'Upsample'])

const passing = new Set(['Identity', 'Dropout', 'Cast'])
const flattening = new Set(['Flatten', 'Reshape', 'Squeeze'])

const toChannelsFirst = '0,3,1,2'
const toChannelsLast = '0,2,3,1'

/** A node that reads a value, and what happens to the value on its way there. */
export interface Reader {
  readonly node: OnnxNode
  /** The index of the input. */
  readonly input: number
  /** Added on each side: `[top, left, bottom, right]`. */
  readonly pads: readonly number[]
  readonly channelsLast: boolean
  /** Of the last quantization on the way, if there is one. */
  readonly range: ActivationRange | undefined
}

/** What is known of a value. */
export interface ReaderOptions {
  /** Whether it may be flattened on the way. */
  readonly flattened?: boolean
  readonly channelsLast?: boolean
  /** Of its numbers, if they are quantized already. */
  readonly range?: ActivationRange | undefined
}

/** A tensor of the file, or what its integers stand for. */
export interface Constant {
  readonly tensor: OnnxTensor
  readonly transposed: boolean
}

/** A node that dequantizes a constant. */
interface Quantized {
  readonly node: OnnxNode
  readonly scaling: Scaling
  /** Whether the constant is transposed before that. */
  readonly turned: boolean
  /** Whether it is rounded to integers before that. */
  readonly rounds: boolean
}

/** How a value gets from the node that makes it to one that computes with it. */
interface Way {
  readonly pads: readonly number[]
  readonly channelsLast: boolean
  readonly range: ActivationRange | undefined
  /** The node that made integers of it, until one makes numbers of them again. */
  readonly quantizer: { readonly node: OnnxNode; readonly scaling: Scaling } | undefined
}

/** A graph with lookup of readers and constants. */
export class OnnxGraph {
  readonly #readers = new Map<string, { node: OnnxNode; input: number }[]>()
  readonly #producers = new Map<string, OnnxNode>()

  /** @throws ResidualError CHECKPOINT_INVALID for operations that no ResNet has, and values produced twice */
  constructor(
    readonly path: string,
    private readonly model: OnnxModel,
  ) {
    for (const node of model.nodes) {
      if (!knownOps.has(node.op)) throw this.refused(whyUnknown(node))
      for (const [input, value] of node.inputs.entries())
        if (value !== '') {
          const readers = this.#readers.get(value)
          if (readers) readers.push({ node, input })
          else this.#readers.set(value, [{ node, input }])
        }
      for (const value of node.outputs) {
        if (this.#producers.has(value)) throw this.refused(`two nodes produce the value '${value}'`)
        this.#producers.set(value, node)
      }
    }
  }

  refused(reason: string): Error {
    return refusedCheckpoint({ path: this.path }, reason)
  }

  /** The nodes that compute with `value`, not counting the graph's output and shape queries. */
  readers(value: string, { flattened = false, channelsLast = false, range }: ReaderOptions = {}): Reader[] {
    const found: Reader[] = []
    const follow = (from: string, way: Way, depth: number) => {
      if (depth > this.model.nodes.length) throw this.refused('its nodes form a cycle')
      for (const { node, input } of this.#readers.get(from) ?? []) {
        if (node.op === 'Shape') continue
        const next = this.#passes(node, input, way, flattened)
        if (next) follow(node.outputs[0] ?? '', next, depth + 1)
        else if (way.quantizer)
          throw this.refused(
            `${described(node)} computes with what ${described(way.quantizer.node)} quantizes`,
          )
        else found.push({ node, input, ...way })
        if (found.length > 8) throw this.refused(`'${from}' has more readers than any value of a ResNet`)
      }
    }
    follow(value, { pads: [0, 0, 0, 0], channelsLast, range, quantizer: undefined }, 0)
    return found
  }

  /** What `way` becomes by a node that only passes a value on; undefined for other nodes. */
  #passes(node: OnnxNode, input: number, way: Way, flattened: boolean): Way | undefined {
    if (passing.has(node.op)) return way
    if (input !== 0) return undefined
    if (flattened && flattening.has(node.op)) return way
    if (node.op === 'Transpose') return { ...way, channelsLast: this.#layout(node) }
    if (node.op === 'Pad') return { ...way, pads: this.#padded(node, way.pads) }
    if (node.op === 'QuantizeLinear' && !way.quantizer)
      return { ...way, quantizer: { node, scaling: scalingOf(this, node) } }
    if (node.op === 'DequantizeLinear' && way.quantizer) {
      const scaling = this.#both(node, way.quantizer)
      return { ...way, quantizer: undefined, range: rangeOf(this, way.quantizer.node, scaling) }
    }
    return undefined
  }

  /** What both a QuantizeLinear and a DequantizeLinear node scale by. */
  #both(node: OnnxNode, other: { readonly node: OnnxNode; readonly scaling: Scaling }): Scaling {
    const scaling = scalingOf(this, node)
    if (!sameScaling(scaling, other.scaling))
      throw this.refused(
        `${described(node)} and ${described(other.node)} have different scales or zero points`,
      )
    return node.op === 'QuantizeLinear' ? scaling : other.scaling
  }

  /** The tensor with that name, quantized or not, and whether it is transposed. */
  constant(name: string | undefined): Constant | undefined {
    let transposed = false
    let quantized: Quantized | undefined
    const found = (tensor: OnnxTensor): Constant => {
      if (!quantized) return { tensor, transposed }
      const { node, scaling } = quantized
      return {
        tensor: { ...tensor, dequantized: dequantizationOf(this, node, tensor, scaling, quantized) },
        transposed,
      }
    }
    for (let at = name, steps = 0; at !== undefined && steps < 16; steps++) {
      const tensor = this.stored(at)
      if (tensor) return found(tensor)
      const node = this.#producers.get(at)
      if (node?.op === 'Transpose') {
        const order = node.attributes.get('perm')?.ints ?? []
        if (order.length > 0 && order.join() !== '1,0') return undefined
        transposed = !transposed
        if (quantized) quantized = { ...quantized, turned: !quantized.turned }
      } else if (node?.op === 'DequantizeLinear' && !quantized) {
        quantized = { node, scaling: scalingOf(this, node), turned: false, rounds: false }
      } else if (node?.op === 'QuantizeLinear' && quantized && !quantized.rounds) {
        quantized = { ...quantized, scaling: this.#both(node, quantized), rounds: true }
      } else if (!passing.has(node?.op ?? '')) return undefined
      at = node!.inputs[0]
    }
    return undefined
  }

  /** The tensor that a value is, as it is stored. */
  stored(name: string | undefined): OnnxTensor | undefined {
    for (let at = name, steps = 0; at !== undefined && steps < 16; steps++) {
      const tensor = this.model.tensors.get(at)
      if (tensor) return tensor
      const node = this.#producers.get(at)
      const held = node?.op === 'Constant' ? node.attributes.get('value')?.tensor : undefined
      if (held) return { ...held, name: at }
      if (!passing.has(node?.op ?? '')) return undefined
      at = node!.inputs[0]
    }
    return undefined
  }

  /** Whether a value is made of zeros when the network runs. */
  isZeros(name: string | undefined): boolean {
    let node = this.#producers.get(name ?? '')
    for (let steps = 0; node && passing.has(node.op) && steps < 16; steps++)
      node = this.#producers.get(node.inputs[0] ?? '')
    const fill = node?.attributes.get('value')?.tensor
    return node?.op === 'ConstantOfShape' && (fill === undefined || fill.scalar === 0)
  }

  /** Integers from an attribute or, in newer files, from an input. */
  integers(node: OnnxNode, attribute: string, input: number): readonly number[] | undefined {
    return node.attributes.get(attribute)?.ints ?? this.stored(node.inputs[input])?.integers
  }

  #layout(node: OnnxNode): boolean {
    const order = node.attributes.get('perm')?.ints.join()
    if (order !== toChannelsFirst && order !== toChannelsLast)
      throw this.refused(`${described(node)} permutes dimensions to [${order}]`)
    return order === toChannelsLast
  }

  #padded(node: OnnxNode, before: readonly number[]): number[] {
    const pads = this.integers(node, 'pads', 1)
    const mode = node.attributes.get('mode')?.text ?? 'constant'
    if (pads?.length !== 8 || mode !== 'constant')
      throw this.refused(`${described(node)} does not pad with constants`)
    // For [N,C,H,W], or [N,H,W,C] with zero padding of the channels.
    const sizes = [0, 1, 2, 3].filter(axis => pads[axis] !== 0 || pads[axis + 4] !== 0)
    if (sizes.length === 0) return [...before]
    if (sizes.length !== 2 || sizes[1] !== sizes[0]! + 1 || sizes[0] === 0)
      throw this.refused(`${described(node)} pads more than rows and columns`)
    const [y, x] = sizes as [number, number]
    return [pads[y]!, pads[x]!, pads[y + 4]!, pads[x + 4]!].map((size, i) => size + before[i]!)
  }
}

function whyUnknown(node: OnnxNode): string {
  const what = `its node ${described(node)} does not occur in a ResNet`
  if (!preprocessingOps.has(node.op)) return what
  return `${what}. If it prepares images, export the network without it: preprocessing belongs in the record next to the checkpoint`
}
