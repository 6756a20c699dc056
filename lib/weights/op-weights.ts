// Which numbers does one operation of a plan compute with?
import { ResidualError } from '../errors.ts'
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
 * @throws ResidualError CHECKPOINT_MISMATCH for tensors of the wrong size, or whatever reading and folding throw
 */
export async function readOpWeights(
  plan: Plan,
  op: ConvOp | LinearOp,
  source: WeightSource,
): Promise<OpWeights> {
  const channels = plan.values[op.dst]!.channels
  const inputs = plan.values[op.src]!.channels
  if (op.kind === 'linear') {
    return {
      weight: await read(source, `${op.name}.weight`, channels * inputs),
      bias: await read(source, `${op.name}.bias`, channels),
    }
  }
  const shape = [channels, inputs / op.groups, op.kernel, op.kernel] as const
  const length = shape.reduce((product, size) => product * size, 1)
  const weight = op.convName
    ? await read(source, `${op.convName}.weight`, length)
    : new Float32Array(length).fill(1) // a channel passes as it is
  const batchNorm = await readBatchNorm(op, channels, source)
  try {
    return foldBatchNorm(weight, shape, batchNorm)
  } catch (cause) {
    if (!(cause instanceof ResidualError)) throw cause
    throw new ResidualError(cause.code, `'${op.name}' of ${source.description}: ${cause.message}`, { cause })
  }
}

async function readBatchNorm({ batchNorm }: ConvOp, channels: number, source: WeightSource) {
  if (!batchNorm) return null
  const { name, epsilon } = batchNorm
  return {
    weight: await read(source, `${name}.weight`, channels),
    bias: await read(source, `${name}.bias`, channels),
    mean: await read(source, `${name}.running_mean`, channels),
    variance: await read(source, `${name}.running_var`, channels),
    epsilon,
  }
}

async function read(source: WeightSource, name: string, length: number): Promise<Float32Array> {
  const data = await source.read(name)
  if (data.length === length) return data
  throw new ResidualError(
    'CHECKPOINT_MISMATCH',
    `'${name}' of ${source.description} has ${data.length} values, not the ${length} the network takes.`,
  )
}
