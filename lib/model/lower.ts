// Lowering a graph to a plan: layers that a convolution can absorb are fused into it; the rest map one to one.
import { checkInteger, outOfRange } from '../errors.ts'
import { type Activation, checkActivation, usualActivation } from './activation.ts'
import type { Graph, Layer, Network, OpLayer } from './graph.ts'
import { checkNormalization } from './normalization.ts'
import { type ConvOp, dueShape, type LayerOp, type Op, operandsOf, resultExtent, type Window } from './ops.ts'
import type { OutputName, Plan } from './plan.ts'
import { countUses, reachable } from './uses.ts'
import { type Shape, sameShape, shapeText } from './value.ts'

export interface LowerOptions {
  readonly height: number
  readonly width: number
  /** Per channel, in units of byte / 255. */
  readonly mean: readonly number[]
  readonly std: readonly number[]
  /** What makes probabilities of the logits; softmax unless given, for one class sigmoid. */
  readonly activation?: Activation
}

/** A conv op that may still absorb what follows. It is emitted when something needs its value. */
type OpenConv = { -readonly [key in keyof ConvOp]: ConvOp[key] }

/** A conv op without what it reads, writes and absorbs. */
type BareConv = Pick<ConvOp, 'name' | 'kernel' | 'stride' | 'padding' | 'groups' | 'convName' | 'averaged'>

/**
 * Lowers a network to the fused operations that compute its outputs for images of `height` x `width`.
 *
 * `conv -> batchNorm -> (+ residual) -> relu` becomes one op wherever no other layer needs what lies between; of two
 * summands that could take in the sum, the first does. Batch norms, sums and ReLUs that no convolution can absorb
 * become 1x1 convolutions with a group per channel. Layers no output depends on are left out.
 *
 * @throws RangeError where the images are too small for the network, shapes do not meet, or `mean` or `std` is out of range
 */
export function lower(network: Network, options: LowerOptions): Plan {
  return new Lowering(network, options).plan()
}

class Lowering {
  private readonly graph: Graph
  private readonly wanted: Set<number>
  private readonly uses: number[]
  private readonly values: Shape[] = []
  private readonly ops: Op[] = []
  /** By layer: the conv op that stands for its value, open or emitted. */
  private readonly convs = new Map<number, OpenConv>()
  /** By layer: the index of its value, once an op has been emitted that writes it. */
  private readonly emitted = new Map<number, number>()

  constructor(
    private readonly network: Network,
    private readonly options: LowerOptions,
  ) {
    this.graph = network.graph
    this.wanted = reachable(network)
    this.uses = countUses(network, this.wanted)
  }

  plan(): Plan {
    for (const [id, layer] of this.graph.layers.entries()) if (this.wanted.has(id)) this.visit(id, layer)

    const outputs: { [name in OutputName]?: number } = {}
    for (const [name, value] of Object.entries(this.network.outputs))
      outputs[name as OutputName] = this.need(value.id)
    const logits = outputs.logits!
    const probabilities = this.activated(logits)
    return {
      name: this.network.name,
      values: this.values,
      ops: this.ops,
      outputs: { ...outputs, logits, probabilities },
    }
  }

  /** The value that an activation makes of the logits. */
  private activated(logits: number): number {
    const shape = this.values[logits]!
    const { activation = usualActivation(shape.channels) } = this.options
    const kind = checkActivation(activation)
    return kind === 'none' ? logits : this.emit(shape, dst => ({ kind, name: kind, src: logits, dst }))
  }

  private visit(id: number, layer: Layer): void {
    const channels = this.graph.channels[id]!
    switch (layer.kind) {
      case 'input': {
        const { height, width } = this.options
        checkInteger('height', height, 1)
        checkInteger('width', width, 1)
        const normalization = checkNormalization(this.options.mean, this.options.std, channels)
        const op = { kind: 'normalize', name: 'normalize', ...normalization } as const
        this.emitted.set(
          id,
          this.emit({ height, width, channels }, dst => ({ ...op, dst })),
        )
        return
      }
      case 'conv': {
        const { name, kernel, stride, padding, groups } = layer
        const pool = this.pooledFor(layer)
        if (pool) this.open(id, pool.src, averaging(pool.kernel, { name, groups, convName: name }))
        else this.open(id, layer.src, { name, kernel, stride, padding, groups, convName: name })
        return
      }
      case 'localAvgPool': {
        const reader = this.graph.layers.find(
          (other, i) => this.wanted.has(i) && 'src' in other && other.src === id,
        )
        if (reader && this.pooledFor(reader)) return // that takes it in
        const pass = { name: `avgpool${id}`, groups: channels, convName: null }
        this.open(id, layer.src, averaging(layer.kernel, pass))
        return
      }
      case 'batchNorm': {
        const conv = this.absorber(layer.src, c => !c.batchNorm && c.residual === null && !c.relu)
        const open = conv ?? this.pass(id, layer.src, layer.name)
        open.batchNorm = { name: layer.name, epsilon: layer.epsilon }
        this.convs.set(id, open)
        return
      }
      case 'add': {
        const canAdd = (c: OpenConv) => c.residual === null && !c.relu
        const first = layer.src === layer.other ? undefined : this.absorber(layer.src, canAdd)
        const second = first || layer.src === layer.other ? undefined : this.absorber(layer.other, canAdd)
        const open = first ?? second ?? this.pass(id, layer.src, `add${id}`)
        const residual = this.need(second ? layer.src : layer.other)
        this.checkSameShape(open, residual)
        open.residual = residual
        this.convs.set(id, open)
        return
      }
      case 'relu': {
        const open = this.absorber(layer.src, c => !c.relu) ?? this.pass(id, layer.src, `relu${id}`)
        open.relu = true
        this.convs.set(id, open)
        return
      }
      default:
        this.take(id, layer)
    }
  }

  /** Emits the operation that the layer stands for. */
  private take(id: number, layer: OpLayer): void {
    const name = 'name' in layer ? layer.name : `${layer.kind.toLowerCase()}${id}`
    const operands = operandsOf(layer).map(({ operand, index }) => [operand.name, this.need(index)])
    const op = { ...layer, name, ...Object.fromEntries(operands), dst: -1 } as LayerOp
    const shape = this.shapeOf(op, this.graph.channels[id]!)
    for (const { operand, index } of operandsOf(op)) {
      const [given, due] = [this.values[index]!, dueShape(operand, this.values[index]!, shape)]
      if (!sameShape(given, due))
        throw outOfRange(shapeText(due), `the ${operand.name} of '${name}'`, shapeText(given))
    }
    this.emitted.set(
      id,
      this.emit(shape, dst => ({ ...op, dst })),
    )
  }

  /** Opens a conv op for layer `id`. Its destination is known only when it is emitted. */
  private open(id: number, srcLayer: number, op: BareConv): OpenConv {
    const src = this.need(srcLayer)
    const { height, width } = this.values[src]!
    // Windows that reach over the edge would be means of fewer pixels.
    if (op.averaged && (height % op.kernel !== 0 || width % op.kernel !== 0)) {
      throw outOfRange(
        `a height and a width that are multiples of ${op.kernel}`,
        `the input of the average pool before '${op.name}'`,
        `${height}x${width}`,
      )
    }
    const open: OpenConv = { kind: 'conv', ...op, src, dst: -1, residual: null, relu: false, batchNorm: null }
    this.shapeOf(open, this.graph.channels[id]!) // refuses images that are too small
    this.convs.set(id, open)
    return open
  }

  /** The average pool before a 1x1 convolution which alone reads it. */
  private pooledFor(layer: Layer): Extract<Layer, { kind: 'localAvgPool' }> | undefined {
    if (layer.kind !== 'conv' || layer.kernel !== 1 || layer.stride !== 1 || layer.padding !== 0)
      return undefined
    const pool = this.graph.layers[layer.src]!
    return pool.kind === 'localAvgPool' && this.uses[layer.src] === 1 ? pool : undefined
  }

  /** Opens a conv op that passes each channel as it is. */
  private pass(id: number, srcLayer: number, name: string): OpenConv {
    const groups = this.graph.channels[id]!
    return this.open(id, srcLayer, { name, kernel: 1, stride: 1, padding: 0, groups, convName: null })
  }

  /** The open conv op behind layer `id`, if nothing else needs that layer's value and `accepts` agrees. */
  private absorber(id: number, accepts: (conv: OpenConv) => boolean): OpenConv | undefined {
    const conv = this.convs.get(id)
    return conv && conv.dst === -1 && this.uses[id] === 1 && accepts(conv) ? conv : undefined
  }

  /** The index of the value of layer `id`; emits the op that writes it if that is still open. */
  private need(id: number): number {
    const known = this.emitted.get(id)
    if (known !== undefined) return known
    const conv = this.convs.get(id)!
    const value = this.emit(this.shapeOf(conv, this.graph.channels[id]!), dst => {
      conv.dst = dst
      return conv
    })
    this.emitted.set(id, value)
    return value
  }

  private emit(shape: Shape, op: (dst: number) => Op): number {
    const dst = this.values.push(shape) - 1
    this.ops.push(op(dst))
    return dst
  }

  private shapeOf(op: ConvOp | LayerOp, channels: number): Shape {
    const src = this.values[op.src]!
    const { height, width } = resultExtent(op, src)
    if (height < 1 || width < 1) {
      const { kernel, padding } = op as Window
      throw outOfRange(
        `at least ${kernel - 2 * padding} pixels each way`,
        `the input of '${op.name}'`,
        `${src.height}x${src.width}`,
      )
    }
    return { height, width, channels }
  }

  private checkSameShape(conv: ConvOp, residual: number): void {
    const other = this.values[residual]!
    const { height, width } = this.shapeOf(conv, other.channels)
    if (height !== other.height || width !== other.width) {
      throw outOfRange(
        `${height}x${width}`,
        `what is added to '${conv.name}'`,
        `${other.height}x${other.width}`,
      )
    }
  }
}

/** What a convolution of means over windows is like. */
function averaging(kernel: number, op: Pick<BareConv, 'name' | 'groups' | 'convName'>): BareConv {
  return { ...op, kernel, stride: kernel, padding: 0, averaged: true }
}
