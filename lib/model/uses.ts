// Reachability and use counts of layers.
import type { Layer, Network } from './graph.ts'
import { operandsOf } from './ops.ts'

/** How many of the wanted layers read each layer; being an output counts as well. */
export function countUses({ graph, outputs }: Network, wanted: Set<number>): number[] {
  const uses = graph.layers.map(() => 0)
  for (const id of wanted) for (const src of sources(graph.layers[id]!)) uses[src]!++
  for (const value of Object.values(outputs)) uses[value.id]!++
  return uses
}

/** The layers some output depends on, and the input. */
export function reachable({ graph, outputs }: Network): Set<number> {
  const wanted = new Set<number>(Object.values(outputs).map(value => value.id)).add(0)
  for (let id = graph.layers.length - 1; id >= 0; id--) {
    if (wanted.has(id)) for (const src of sources(graph.layers[id]!)) wanted.add(src)
  }
  return wanted
}

/** The layers that a layer reads. */
export function sources(layer: Layer): number[] {
  switch (layer.kind) {
    case 'input':
      return []
    case 'add':
      return [layer.src, layer.other]
    case 'batchNorm':
    case 'relu':
    case 'localAvgPool':
      return [layer.src]
    default:
      return operandsOf(layer).map(({ index }) => index)
  }
}
