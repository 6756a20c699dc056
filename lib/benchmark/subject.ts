// The files that the engines read: the checkpoint itself or a written one, and the same network as ONNX.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ResidualError } from '../errors.ts'
import { networkToOnnx, planToOnnx } from '../export/onnx.ts'
import type { Network } from '../model/graph.ts'
import { parametersOf } from '../model/parameters.ts'
import { inputShape, type Plan } from '../model/plan.ts'
import { reducedPlan } from '../model/reduce.ts'
import { writeSafetensors } from '../weights/formats/safetensors/write.ts'
import type { WeightSource } from '../weights/source.ts'
import type { Model, Samples, Subject } from './engine.ts'
import { batchOf, defaultSamples, generateSamples } from './samples.ts'

export interface SubjectParts {
  readonly network: Network
  readonly plan: Plan
  readonly weights: WeightSource
  /** The checkpoint's file; null if the weights are not in a file. */
  readonly path: string | null
}

/** A quantized model as it is opened from its file. */
export interface QuantizedParts {
  readonly plan: Plan
  readonly weights: WeightSource
  readonly path: string
}

export interface SubjectOptions {
  /** Images to compare engines on; some are generated unless given. */
  readonly samples?: Samples
  /** Images that an engine may quantize the network with; the samples unless given. */
  readonly calibration?: Samples
  /** Makes the model for int8 from one that is not quantized. */
  readonly quantize?: () => Promise<QuantizedParts>
}

const mostCalibration = 32 // images: PyTorch's observers take a second for each

/** `folder` receives the files that do not exist yet. */
export async function makeSubject(
  name: string,
  parts: SubjectParts,
  folder: string,
  options: SubjectOptions = {},
): Promise<Subject> {
  const { network, plan, weights, path } = parts
  const samples = options.samples ?? generateSamples(plan, defaultSamples)
  const file = (extension: string) => join(folder, `${name}.${extension}`)
  const safetensors = once(async () => {
    const tensors = parametersOf(network).map(async ({ name, shape }) => ({
      name,
      shape,
      data: await weights.read(name),
    }))
    await writeSafetensors(file('safetensors'), await Promise.all(tensors))
    return file('safetensors')
  })
  const onnx = once(async () => {
    await writeFile(file('onnx'), await networkToOnnx(network, weights, inputShape(plan)))
    return file('onnx')
  })
  const calibration = once(async () => {
    const images = options.calibration ?? samples
    const { data, dims } = batchOf(plan, images, 0, Math.min(images.dims[0], mostCalibration))
    await writeFile(file('calibration'), data)
    return { file: file('calibration'), dims }
  })
  const onnxOps = async () => ({ file: await planToOnnx(plan, weights, { precision: 'fp32' }), plan })
  const model: Model = { plan, weights, checkpoint: path ?? (await safetensors()), onnx, onnxOps }
  const quantized = once(async () => {
    const checkpoint = model.checkpoint
    if (weights.quantization) return quantizedModel({ plan, weights, path: checkpoint }, file('int8.onnx'))
    if (options.quantize) return quantizedModel(await options.quantize(), file('int8.onnx'))
    throw new ResidualError(
      'PRECISION_UNSUPPORTED',
      `${name} is not quantized. Quantize it first: residual quantize.`,
    )
  })
  return {
    ...model,
    name,
    network,
    samples,
    safetensors,
    calibration,
    in: precision => (precision === 'int8' ? quantized() : Promise.resolve(model)),
  }
}

/** `file` receives the network as ONNX, quantized in the same way. */
function quantizedModel({ plan, weights, path }: QuantizedParts, file: string): Model {
  const encoded = once(() => planToOnnx(plan, weights, { precision: 'int8' }))
  const onnx = once(async () => {
    await writeFile(file, await encoded())
    return file
  })
  const onnxOps = async () => {
    const reduction = { precision: 'int8', quantization: weights.quantization!, bf16: false } as const
    return { file: await encoded(), plan: reducedPlan(plan, reduction) }
  }
  return { plan, weights, checkpoint: path, onnx, onnxOps }
}

/** Does something on the first call only. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}
