// The graph of a network: a list of layers, each naming its inputs, before anything is decided about how it runs.
import type { LayerOp, LinearOp } from './ops.ts'

/** An operation as a layer: without what it writes, and named only where parameters are. */
type AsLayer<O extends LayerOp> = O extends LinearOp ? Omit<O, 'dst'> : Omit<O, 'dst' | 'name'>
export type OpLayer = LayerOp extends infer O extends LayerOp
  ? O extends LayerOp
    ? AsLayer<O>
    : never
  : never

/** One layer. Ids are positions in {@link Graph.layers}; a layer reads only earlier ones. */
export type Layer =
  | { readonly kind: 'input' }
  | {
      readonly kind: 'conv'
      readonly name: string
      readonly src: number
      readonly kernel: number
      readonly stride: number
      readonly padding: number
      readonly groups: number
    }
  | { readonly kind: 'batchNorm'; readonly name: string; readonly src: number; readonly epsilon: number }
  | { readonly kind: 'relu'; readonly src: number }
  | { readonly kind: 'add'; readonly src: number; readonly other: number }
  | { readonly kind: 'localAvgPool'; readonly src: number; readonly kernel: number }
  | OpLayer

/** The layers built so far, in an order in which they can run. */
export interface Graph {
  readonly layers: Layer[]
  /** Output channels of each layer. Heights and widths are decided when the graph is lowered. */
  readonly channels: number[]
}

/** The output of one layer, `[N,?,?,channels]`: what layer functions take and return. */
export interface Value {
  readonly graph: Graph
  readonly id: number
  readonly channels: number
}

/** A finished network: a graph and which of its values are asked for. */
export interface Network {
  readonly name: string
  readonly graph: Graph
  readonly outputs: {
    /** `[N,1,1,classes]` */
    readonly logits: Value
    /** The pooled features, `[N,1,1,C]`. */
    readonly features?: Value
    /** What was pooled, `[N,H,W,C]`. */
    readonly featureMaps?: Value
  }
}

/** Appends `layer` and returns its value. Layer functions are built on this. */
export function append(graph: Graph, layer: Layer, channels: number): Value {
  graph.layers.push(layer)
  graph.channels.push(channels)
  return { graph, id: graph.layers.length - 1, channels }
}
