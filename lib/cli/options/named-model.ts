// The network, plan and weights of a model named on the command line.

import { closingOnError } from '../../files/closing-on-error.ts'
import { imagenet } from '../../image/preprocess.ts'
import type { Network } from '../../model/graph.ts'
import { lower } from '../../model/lower.ts'
import { parametersOf } from '../../model/parameters.ts'
import type { Plan } from '../../model/plan.ts'
import { resnet, supportedLayers } from '../../model/resnet.ts'
import { lowerModel, type ModelOptions, openModel } from '../../open-model.ts'
import { initialise } from '../../weights/init.ts'
import type { WeightSource } from '../../weights/source.ts'

export interface NamedModel {
  readonly network: Network
  readonly plan: Plan
  readonly weights: WeightSource
  /** The checkpoint's file; null if the weights are random. */
  readonly path: string | null
  close(): Promise<void>
}

/**
 * `model`: a bundled model, a checkpoint's file or folder, or `resnet18` to `resnet152` with random weights for images of
 * `size` x `size`. Close it after use.
 *
 * @throws ResidualError what finding and reading a model throws
 */
export async function openNamedModel(
  model: string,
  size: number,
  options: ModelOptions = {},
): Promise<NamedModel> {
  const layers = supportedLayers.find(count => model === `resnet${count}`)
  if (layers !== undefined) {
    const network = resnet({ layers })
    const { mean, std } = imagenet
    const { activation } = options
    const plan = lower(network, { height: size, width: size, mean, std, ...(activation && { activation }) })
    return { network, plan, weights: initialise(parametersOf(network), 1), path: null, close: async () => {} }
  }
  return closingOnError(await openModel(model, options), async opened => {
    const { network, weights, checkpoint, close } = opened
    return { network, plan: lowerModel(opened), weights, path: checkpoint.path, close }
  })
}

/** The plan of such a model. */
export async function planOf(model: string, size: number, options?: ModelOptions): Promise<Plan> {
  const { plan, close } = await openNamedModel(model, size, options)
  await close()
  return plan
}
