// Folding a batch norm into the convolution before it: a scale and a bias per output channel.
import { ResidualError } from '../errors.ts'

/** The tensors of one batch normalisation, `[K]` each. */
export interface BatchNormTensors {
  readonly weight: Float32Array
  readonly bias: Float32Array
  readonly mean: Float32Array
  readonly variance: Float32Array
  readonly epsilon: number
}

/** What each output channel's weights are multiplied by, and what is added: `[K]` both. */
export interface ChannelFactors {
  readonly scale: Float64Array
  readonly bias: Float32Array
}

/**
 * `scale = weight / sqrt(variance + epsilon)`, and `bias - mean * scale`, which is rounded once; all in float64. Without `bn`
 * they are 1 and 0. What multiplies by `scale` is `core::StoredWeights`, or {@link scaleChannels}.
 *
 * @throws ResidualError NON_FINITE where a scale or a bias comes to no finite number
 */
export function foldBatchNorm(channels: number, bn: BatchNormTensors | null): ChannelFactors {
  const scale = new Float64Array(channels).fill(1)
  const bias = new Float32Array(channels)
  if (!bn) return { scale, bias }
  for (let k = 0; k < channels; k++) {
    scale[k] = bn.weight[k]! / Math.sqrt(bn.variance[k]! + bn.epsilon)
    bias[k] = bn.bias[k]! - bn.mean[k]! * scale[k]!
    if (!Number.isFinite(scale[k]!) || !Number.isFinite(bias[k]!)) {
      const problem = `Batch normalisation of channel ${k} fails: its variance is ${bn.variance[k]}`
      throw new ResidualError('NON_FINITE', `${problem}.`)
    }
  }
  return { scale, bias }
}

/**
 * `weight`, `[K,...]`, with each channel multiplied by its scale, in float64 and rounded once: a new array. For what is run,
 * `core::StoredWeights` does the same.
 *
 * @throws ResidualError NON_FINITE where a product is no finite float32
 */
export function scaleChannels(weight: Float32Array, scale: Float64Array): Float32Array {
  const length = weight.length / scale.length
  return weight.map((value, i) => {
    const k = Math.floor(i / length)
    const scaled = Math.fround(value * scale[k]!)
    if (Number.isFinite(scaled)) return scaled
    throw new ResidualError('NON_FINITE', `A weight of channel ${k} comes to ${scaled}.`)
  })
}
