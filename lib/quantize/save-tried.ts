// Saving a network as it was tried in int8.
import { packageVersion } from '../base/package-version.ts'
import type { Plan } from '../model/plan.ts'
import type { Quantization, QuantizationMethod } from '../model/quantization.ts'
import type { OpenModel } from '../open-model.ts'
import { saveQuantizedModel } from '../save-model.ts'
import { takesWeights } from '../weights/op-weights.ts'
import { foldedSource } from './folded-source.ts'
import { roundWeights } from './round-weights.ts'
import type { AllWeights } from './trial.ts'

export interface TriedNetwork {
  /** In float32. */
  readonly plan: Plan
  readonly weights: AllWeights
  readonly quantization: Quantization
  /** What else the file is to say of it. */
  readonly described: QuantizationMethod
}

/** @throws ResidualError FILE_WRITE_FAILED; the signal's reason */
export async function saveTried(
  path: string,
  { architecture, labels, activation, preprocessing, weights: source }: OpenModel,
  { plan, weights, quantization, described }: TriedNetwork,
  signal: AbortSignal | undefined,
): Promise<void> {
  const model = {
    ...{ labels, activation, preprocessing },
    architecture: { ...architecture, epsilon: 0 }, // the weights are folded
    weights: foldedSource(plan, weights, source.description),
  }
  await saveQuantizedModel(path, model, {
    quantization,
    method: { ...described, biases: 'corrected', residual: packageVersion() },
    biases: correctedBiases(plan, weights, quantization),
    integersOf: async (name, weight, channels) => {
      const rounded = weights.get(name)!.rounded!
      // A mean over each window was spread over the weights that were tried.
      return rounded.integers.length === weight.length ? rounded : roundWeights(weight, channels)
    },
    ...(signal && { signal }),
  })
}

/** By operation in int8, but for those that read the image's bytes: the bias that goes with the rounded weights. */
function correctedBiases(plan: Plan, weights: AllWeights, { kept }: Quantization): Map<string, Float32Array> {
  const image = plan.ops[0]!.dst
  const rounded = plan.ops
    .filter(takesWeights)
    .filter(({ name, src }) => !Object.hasOwn(kept, name) && src !== image)
  return new Map(rounded.map(({ name }) => [name, weights.get(name)!.roundedBias!]))
}
