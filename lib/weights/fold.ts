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

/** The scale and the bias of each output channel, `[K]` both. */
export interface ChannelFactors {
  readonly scale: Float64Array
  readonly bias: Float32Array
}

/**
 * The scale `weight / sqrt(variance + epsilon)` and the bias `bias - mean * scale`, rounded once; all in float64. Without
 * `bn` they are 1 and 0. `core::StoredWeights` or {@link scaleChannels} multiply by the scale.
 *
 * @throws ResidualError NON_FINITE if a scale or a bias is not finite
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
 * A new array: `weight`, `[K,...]`, with each channel multiplied by its scale in float64 and rounded once. When a network
 * runs, `core::StoredWeights` does the same.
 *
 * @throws ResidualError NON_FINITE if a product is not finite as float32
 */
export function scaleChannels(weight: Float32Array, scale: Float64Array): Float32Array {
  const [length, result] = [weight.length / scale.length, new Float32Array(weight.length)]
  for (let k = 0, i = 0; k < scale.length; k++) {
    const factor = scale[k]!
    for (const end = i + length; i < end; i++) {
      result[i] = weight[i]! * factor
      if (Number.isFinite(result[i])) continue
      throw new ResidualError(
        'NON_FINITE',
        `A weight of channel ${k} becomes ${result[i]} when the batch norm is folded in.`,
      )
    }
  }
  return result
}
