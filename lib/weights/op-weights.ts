// Which numbers does one operation of a plan compute with?
import type { ConvOp, LinearOp, Op, Plan } from '../model/plan.ts'
import { foldBatchNorm } from './fold.ts'
import type { WeightSource } from './source.ts'

/** What the addon packs: `weight` is `[K,R,S,C/groups]` or `[K,C]`, `bias` is `[K]`. The receiver owns both. */
export interface OpWeights {
  readonly weight: Float32Array
  readonly bias: Float32Array
}

export function takesWeights(op: Op): op is ConvOp | LinearOp {
  return op.kind === 'conv' || op.kind === 'linear'
}

/**
 * Reads the tensors of one operation and folds its batch normalisation into them.
 *
 * @throws ResidualError whatever reading or folding throws
 */
export async function readOpWeights(
  plan: Plan,
  op: ConvOp | LinearOp,
  source: WeightSource,
): Promise<OpWeights> {
  if (op.kind === 'linear') {
    return { weight: await source.read(`${op.name}.weight`), bias: await source.read(`${op.name}.bias`) }
  }
  const channels = plan.values[op.dst]!.channels
  const inputs = plan.values[op.src]!.channels / op.groups
  const weight = op.convName ? await source.read(`${op.convName}.weight`) : new Float32Array(channels).fill(1)
  return foldBatchNorm(weight, [channels, inputs, op.kernel, op.kernel], await readBatchNorm(op, source))
}

async function readBatchNorm({ batchNorm }: ConvOp, source: WeightSource) {
  if (!batchNorm) return null
  const { name, epsilon } = batchNorm
  return {
    weight: await source.read(`${name}.weight`),
    bias: await source.read(`${name}.bias`),
    mean: await source.read(`${name}.running_mean`),
    variance: await source.read(`${name}.running_var`),
    epsilon,
  }
}
