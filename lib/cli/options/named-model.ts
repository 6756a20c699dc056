// The network, plan and weights of a model named on the command line.

import { closingOnError } from '../../files/closing-on-error.ts'
import { imagenet, inputOf, type Preprocessing } from '../../image/preprocess.ts'
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
  readonly preprocessing: Preprocessing
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
    const preprocessing = imagenetOf(size)
    const { activation } = options
    const plan = lower(network, { ...inputOf(preprocessing), ...(activation && { activation }) })
    const weights = initialise(parametersOf(network), 1)
    return { network, plan, weights, preprocessing, path: null, close: async () => {} }
  }
  return closingOnError(await openModel(model, options), async opened => {
    const { network, weights, preprocessing, checkpoint, close } = opened
    return { network, plan: lowerModel(opened), weights, preprocessing, path: checkpoint.path, close }
  })
}

/** The preprocessing of most checkpoints, for images of another size. */
function imagenetOf(size: number): Preprocessing {
  const shorterSide = Math.round((size * 256) / 224)
  return { ...imagenet, steps: [{ resize: { shorterSide } }, { crop: { height: size, width: size } }] }
}

/** The plan of such a model. */
export async function planOf(model: string, size: number, options?: ModelOptions): Promise<Plan> {
  const { plan, close } = await openNamedModel(model, size, options)
  await close()
  return plan
}
