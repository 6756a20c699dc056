// The readers of an ONNX value, skipping nodes that only pass it on: identities, casts, dropouts, padding, transposes.
import { refusedCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { OnnxModel, OnnxNode } from './model.ts'
import type { OnnxTensor } from './tensor.ts'

/** The operations a ResNet may consist of. */
const knownOps = new Set(
  (
    'Conv BatchNormalization Relu Add Sum MaxPool GlobalAveragePool AveragePool ReduceMean Gemm MatMul Softmax LogSoftmax Sigmoid Pad ' +
    'Flatten Reshape Squeeze Identity Dropout Cast Transpose Constant Shape Gather Unsqueeze Concat Slice'
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
  readers(value: string, { flattened = false, channelsLast = false } = {}): Reader[] {
    const found: Reader[] = []
    const follow = (from: string, pads: readonly number[], last: boolean, depth: number) => {
      if (depth > this.model.nodes.length) throw this.refused('its nodes form a cycle')
      for (const { node, input } of this.#readers.get(from) ?? []) {
        const next = (more = pads, nowLast = last) => follow(node.outputs[0] ?? '', more, nowLast, depth + 1)
        if (node.op === 'Shape') continue
        if (passing.has(node.op)) next()
        else if (flattened && flattening.has(node.op) && input === 0) next()
        else if (node.op === 'Transpose') next(pads, this.#layout(node))
        else if (node.op === 'Pad' && input === 0) next(this.#padded(node, pads))
        else found.push({ node, input, pads, channelsLast: last })
        if (found.length > 8) throw this.refused(`'${from}' has more readers than any value of a ResNet`)
      }
    }
    follow(value, [0, 0, 0, 0], channelsLast, 0)
    return found
  }

  /** The tensor with that name, and whether it is transposed. */
  constant(
    name: string | undefined,
  ): { readonly tensor: OnnxTensor; readonly transposed: boolean } | undefined {
    let transposed = false
    for (let at = name, steps = 0; at !== undefined && steps < 16; steps++) {
      const tensor = this.model.tensors.get(at)
      if (tensor) return { tensor, transposed }
      const node = this.#producers.get(at)
      if (node?.op === 'Constant') {
        const held = node.attributes.get('value')?.tensor
        return held && { tensor: { ...held, name: at }, transposed }
      }
      if (node?.op === 'Transpose') {
        const order = node.attributes.get('perm')?.ints ?? []
        if (order.length > 0 && order.join() !== '1,0') return undefined
        transposed = !transposed
      } else if (!passing.has(node?.op ?? '')) return undefined
      at = node!.inputs[0]
    }
    return undefined
  }

  /** Integers from an attribute or, in newer files, from an input. */
  integers(node: OnnxNode, attribute: string, input: number): readonly number[] | undefined {
    return node.attributes.get(attribute)?.ints ?? this.constant(node.inputs[input])?.tensor.integers
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

export const described = ({ op, name, outputs }: OnnxNode) => `${op} '${name || outputs[0]}'`

function whyUnknown(node: OnnxNode): string {
  const what = `its node ${described(node)} does not occur in a ResNet`
  if (!preprocessingOps.has(node.op)) return what
  return `${what}. If it prepares images, export the network without it: preprocessing belongs in the record next to the checkpoint`
}
