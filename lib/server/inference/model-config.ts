// A model's configuration for Triton's `model_configuration` extension: what clients may send, and how it is batched.
import type { SessionDevice } from '../../runtime/session.ts'
import type { LoadedModel } from '../models/served-model.ts'
import type { CheckedServeOptions } from '../options.ts'
import type { TensorMetadata } from '../protocol/tensor.ts'
import { signatureOf } from './signature.ts'
import { inputNames } from './tensors.ts'

/** Datatype names in Triton's configurations. */
const dataTypes: { readonly [datatype: string]: string } = {
  UINT8: 'TYPE_UINT8',
  FP32: 'TYPE_FP32',
  BYTES: 'TYPE_STRING',
}

/** The layout of each input. */
const formats: { readonly [input: string]: string } = {
  [inputNames.pixels]: 'FORMAT_NHWC',
  [inputNames.tensor]: 'FORMAT_NCHW',
}

/**
 * The `ModelConfig` of a model under the requested name, the same in JSON and in gRPC. Its largest batch is that of a request;
 * the size of the batches that run is the first `preferred_batch_size`.
 */
export function modelConfig(model: LoadedModel, name: string, options: CheckedServeOptions) {
  const { limits, batcher, instances } = options
  const { inputs, outputs } = signatureOf(model, name)
  return {
    name,
    platform: 'residual',
    backend: 'residual',
    max_batch_size: limits.picturesPerRequest,
    input: inputs.map(input => ({
      ...tensorConfig(input),
      format: formats[input.name] ?? 'FORMAT_NONE',
      optional: inputs.length > 1, // a request has exactly one of them
    })),
    output: outputs.map(tensorConfig),
    instance_group: [{ name, count: instances, ...placement(model.classifier.session.device) }],
    dynamic_batching: {
      preferred_batch_size: [batcher.maxBatch],
      max_queue_delay_microseconds: Math.round(batcher.maxWaitMs * 1000),
      default_queue_policy: {
        default_timeout_microseconds: limits.deadlineMs * 1000,
        allow_timeout_override: true,
        max_queue_size: batcher.maxQueue,
      },
    },
  }
}

/** Its shape without the batch. */
const tensorConfig = ({ name, datatype, shape }: TensorMetadata) => ({
  name,
  data_type: dataTypes[datatype]!,
  dims: shape.slice(1),
})

const placement = (device: SessionDevice) =>
  device.kind === 'cuda' ? { kind: 'KIND_GPU', gpus: [device.index] } : { kind: 'KIND_CPU', gpus: [] }
