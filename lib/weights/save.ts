// Saving a network with its weights as safetensors, under our names, as trained or as run.

import { checkNames, type Names } from '../base/options.ts'
import type { Network } from '../model/graph.ts'
import { lower } from '../model/lower.ts'
import { parametersOf } from '../model/parameters.ts'
import type { Plan } from '../model/plan.ts'
import {
  type DeferredTensor,
  type WriteOptions,
  writeOptionNames,
  writeSafetensors,
} from './formats/safetensors/write.ts'
import { readFolded, takesWeights, type WeightedOp, weightShape } from './op-weights.ts'
import type { WeightSource } from './source.ts'

export interface SaveOptions extends WriteOptions {
  /** Fold batch norms into the convolutions, which then have biases. */
  readonly folded?: boolean
}

export const saveOptionNames = { ...writeOptionNames, folded: true } as const satisfies Names<SaveOptions>

const anySide = 1024 // of images: folding does not depend on it, and it is large enough for any network

/**
 * Writes all tensors of `network` to `path`, with only one operation's in memory at a time.
 *
 * @throws ResidualError whatever reading the weights or {@link writeSafetensors} throws
 */
export async function saveNetwork(
  path: string,
  network: Network,
  weights: WeightSource,
  saveOptions: SaveOptions = {},
): Promise<void> {
  checkNames(saveOptions, saveOptionNames)
  const { folded = false, ...options } = saveOptions
  const tensors = folded ? foldedTensors(network, weights) : trainedTensors(network, weights)
  await writeSafetensors(path, tensors, options)
}

function trainedTensors(network: Network, weights: WeightSource): DeferredTensor[] {
  return parametersOf(network).map(({ name, shape }) => ({ name, shape, read: () => weights.read(name) }))
}

/** The operation as in a checkpoint: the pool before it has no weights. */
function withoutAverage(op: WeightedOp): WeightedOp {
  if (op.kind !== 'conv' || !op.averaged) return op
  const { averaged: _, ...convolution } = op
  return { ...convolution, kernel: 1 }
}

/** The plan of a network whose batch norms are folded when it is saved. */
export function foldingPlan(network: Network): Plan {
  const perChannel = (value: number) => new Array(network.graph.channels[0]!).fill(value)
  return lower(network, { height: anySide, width: anySide, mean: perChannel(0), std: perChannel(1) })
}

/** An operation's folded weights, as a file has them. */
export interface FoldedOp {
  /** Of the weights. */
  readonly shape: readonly number[]
  readonly read: () => Promise<{ readonly weight: Float32Array; readonly bias: Float32Array }>
}

/** What is read for one tensor of an operation of `plan` is kept for its others, which are written next. */
export function foldedOp(plan: Plan, lowered: WeightedOp, weights: WeightSource, last: LastRead): FoldedOp {
  const op = withoutAverage(lowered)
  return {
    shape: weightShape(plan, op),
    read: () => last.of(lowered, () => readFolded(plan, op, weights)),
  }
}

/** The result of the last reading. */
export class LastRead {
  #key: unknown
  #result: Promise<unknown> | undefined

  of<T>(key: unknown, read: () => Promise<T>): Promise<T> {
    if (this.#key !== key) {
      this.#key = key
      this.#result = read()
    }
    return this.#result as Promise<T>
  }
}

function foldedTensors(network: Network, weights: WeightSource): DeferredTensor[] {
  const [plan, last] = [foldingPlan(network), new LastRead()]
  return plan.ops.filter(takesWeights).flatMap((op: WeightedOp) => {
    const { shape, read } = foldedOp(plan, op, weights, last)
    return [
      { name: `${op.name}.weight`, shape, read: async () => (await read()).weight },
      { name: `${op.name}.bias`, shape: shape.slice(0, 1), read: async () => (await read()).bias },
    ]
  })
}
