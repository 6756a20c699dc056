// The protocol's `infer`: input tensors to outputs, the same for REST and gRPC.

import { topIndices } from '../../base/top-k.ts'
import { type LoadedModel, modelVersion, type ServedOutput } from '../models/served-model.ts'
import type { InferRequest, InferResult, RequestedOutput } from '../protocol/request.ts'
import type { OutputTensor, TensorMetadata } from '../protocol/tensor.ts'
import { invalid } from '../protocol/tensor-values.ts'
import type { ImageDecoder } from './images.ts'
import { type Signature, signatureOf } from './signature.ts'
import { readInput } from './tensors.ts'

export interface ModelMetadata {
  readonly name: string
  readonly versions: readonly string[]
  readonly platform: string
  readonly inputs: readonly TensorMetadata[]
  readonly outputs: readonly TensorMetadata[]
}

/** The metadata of a model under `name`. */
export function modelMetadata(model: LoadedModel, name: string): ModelMetadata {
  return { name, versions: [modelVersion], platform: 'residual', ...signatureOf(model, name) }
}

/**
 * Runs a model, under the name used by the request, on the request's images.
 *
 * @throws ResidualError REQUEST_INVALID, REQUEST_TOO_LARGE, DECODE_FAILED, PICTURE_TOO_LARGE, QUEUE_FULL, QUEUE_CLOSED, the
 *   signal's reason, or whatever running the network throws
 */
export async function infer(
  model: LoadedModel,
  name: string,
  request: InferRequest,
  context: { decoder: ImageDecoder; maxPictures: number; signal: AbortSignal },
): Promise<InferResult> {
  const { classifier, batcher } = model
  const { decoder, maxPictures, signal } = context
  const signature = signatureOf(model, name)
  const requested = checkRequested(request.outputs, signature)
  const begin = performance.now()
  const input = await readInput(request.inputs, signature.inputs, maxPictures)
  const pixels =
    input.kind === 'pixels'
      ? input.pixels
      : Buffer.concat((await decoder.prepare(classifier, input.images, signal)).map(({ pixels }) => pixels))
  const decodeMs = performance.now() - begin
  const names = [...new Set(requested.map(({ name }) => name))]
  const { outputs, queueMs, computeMs } = await batcher.run(pixels, { outputs: names, signal })
  const images = input.kind === 'pixels' ? input.count : input.images.length
  return {
    outputs: requested.map(({ name, classification }) =>
      classification === undefined
        ? { name, datatype: 'FP32', shape: [images, outputs[name].length / images], data: outputs[name] }
        : classify(name, outputs[name], images, classification, name === 'features' ? [] : classifier.labels),
    ),
    images,
    timings: { decodeMs, queueMs, computeMs },
  }
}

type Checked = Omit<RequestedOutput, 'name'> & { readonly name: ServedOutput }

function checkRequested(
  requested: readonly RequestedOutput[] | undefined,
  { outputs }: Signature,
): Checked[] {
  const known = outputs.map(({ name }) => name)
  if (requested === undefined || requested.length === 0) return known.map(name => ({ name }))
  const names = requested.map(({ name }) => name)
  if (new Set(names).size < names.length) throw invalid('The request names an output twice.')
  for (const { name, classification } of requested) {
    if (!known.includes(name as ServedOutput))
      throw invalid(`The model has no output '${name}'; it has ${known.join(', ')}.`)
    if (classification !== undefined && !(Number.isSafeInteger(classification) && classification >= 1))
      throw invalid(`The parameter 'classification' of the output '${name}' must be an integer above 0.`)
  }
  return requested as Checked[]
}

/** The `count` largest values of each image as `value:index:label`, largest first: `[N,count]`. */
function classify(
  name: string,
  data: Float32Array,
  images: number,
  count: number,
  labels: readonly string[],
): OutputTensor {
  const columns = data.length / images
  const width = Math.min(count, columns)
  const elements: string[] = []
  for (let n = 0; n < images; n++) {
    const values = data.subarray(n * columns, (n + 1) * columns)
    for (const index of topIndices(values, width))
      elements.push([values[index], index, ...(labels[index] === undefined ? [] : [labels[index]])].join(':'))
  }
  return { name, datatype: 'BYTES', shape: [images, width], data: elements }
}
