// Which plan does `--model` name, on a command line that needs no weights?
import { imagenet, inputSize } from '../image/preprocess.ts'
import { lower } from '../model/lower.ts'
import type { Plan } from '../model/plan.ts'
import { resnet, supportedLayers } from '../model/resnet.ts'
import { findModel, readModelRecord } from '../model-record.ts'
import { inferResNet } from '../weights/names/torchvision.ts'
import { openSafetensors } from '../weights/safetensors.ts'
import { fromSafetensors } from '../weights/source.ts'

/**
 * `model`: a bundled model, a .safetensors file, or `resnet18` to `resnet152`, for pictures of `size` x `size`.
 *
 * @throws ResidualError what finding and reading a model throws
 */
export async function planOf(model: string, size: number): Promise<Plan> {
  const layers = supportedLayers.find(count => model === `resnet${count}`)
  if (layers !== undefined)
    return lower(resnet({ layers }), { height: size, width: size, mean: imagenet.mean, std: imagenet.std })
  const file = findModel(model)
  const record = await readModelRecord(file)
  const { mean, std } = record.preprocessing
  const shape = { ...inputSize(record.preprocessing), mean, std }
  if (record.architecture) return lower(resnet(record.architecture), shape)
  const tensors = await openSafetensors(file.path)
  try {
    return lower(resnet(inferResNet(fromSafetensors(tensors))), shape)
  } finally {
    await tensors.close()
  }
}
