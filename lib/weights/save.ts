// Saving a network with its weights as safetensors, under our names, as trained or as run.

import { checkNames, type Names } from '../base/options.ts'
import type { Network } from '../model/graph.ts'
import { lower } from '../model/lower.ts'
import { parametersOf } from '../model/parameters.ts'
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

function foldedTensors(network: Network, weights: WeightSource): DeferredTensor[] {
  const perChannel = (value: number) => new Array(network.graph.channels[0]!).fill(value)
  const plan = lower(network, { height: anySide, width: anySide, mean: perChannel(0), std: perChannel(1) })
  return plan.ops.filter(takesWeights).flatMap((lowered: WeightedOp) => {
    const op = withoutAverage(lowered)
    const shape = weightShape(plan, op)
    let bias: Float32Array | undefined // read with the weights, which are written just before it
    return [
      {
        name: `${op.name}.weight`,
        shape,
        read: async () => {
          const both = await readFolded(plan, op, weights)
          bias = both.bias
          return both.weight
        },
      },
      { name: `${op.name}.bias`, shape: shape.slice(0, 1), read: async () => bias! },
    ]
  })
}
