// Folded weights as those of the network with identities for batch norms, for whatever takes a network and a source.
import type { Plan } from '../model/plan.ts'
import { takesWeights, type WeightedOp, weightName } from '../weights/op-weights.ts'
import { fromTensors, type Tensor, type WeightSource } from '../weights/source.ts'
import type { FoldedWeights } from './trial.ts'

/** For a network of the plan whose batch norms have an epsilon of 0. */
export function foldedSource(
  plan: Plan,
  folded: ReadonlyMap<string, FoldedWeights>,
  description: string,
): WeightSource {
  const tensors = new Map<string, Tensor>()
  for (const op of plan.ops.filter(takesWeights)) {
    const { weight, bias } = folded.get(op.name)!
    const name = weightName(op)
    if (name !== null) tensors.set(name, flat(gathered(op, weight)))
    if (op.kind === 'linear') tensors.set(`${op.name}.bias`, flat(bias))
    else if (op.batchNorm) {
      const constant = (value: number) => flat(new Float32Array(bias.length).fill(value))
      tensors.set(`${op.batchNorm.name}.weight`, constant(1))
      tensors.set(`${op.batchNorm.name}.bias`, flat(bias))
      tensors.set(`${op.batchNorm.name}.running_mean`, constant(0))
      tensors.set(`${op.batchNorm.name}.running_var`, constant(1))
    }
  }
  return fromTensors(tensors, description)
}

const flat = (data: Float32Array): Tensor => ({ shape: [data.length], data })

/** The weights of a 1x1 convolution that were spread over a window. */
function gathered(op: WeightedOp, weight: Float32Array): Float32Array {
  if (op.kind !== 'conv' || !op.averaged) return weight
  const taps = op.kernel ** 2
  return Float32Array.from({ length: weight.length / taps }, (_, i) => weight[i * taps]! * taps)
}
