// How does batch normalisation disappear into the convolution before it?
import { ResidualError } from '../errors.ts'

/** The tensors of one batch normalisation, `[K]` each. */
export interface BatchNormTensors {
  readonly weight: Float32Array
  readonly bias: Float32Array
  readonly mean: Float32Array
  readonly variance: Float32Array
  readonly epsilon: number
}

/**
 * Turns a convolution's weight from `[K,C,R,S]`, a checkpoint's order, to `[K,R,S,C]`, the kernels', and folds `bn` in:
 * `scale = weight / sqrt(variance + epsilon)` multiplies it and `bias - mean * scale` is the new bias, all in float64 and
 * rounded once. The results are new arrays.
 *
 * @throws ResidualError NON_FINITE where a scale, a weight or a bias comes to no finite float32
 */
export function foldBatchNorm(
  weight: Float32Array,
  [K, C, R, S]: readonly [number, number, number, number],
  bn: BatchNormTensors | null,
): { weight: Float32Array; bias: Float32Array } {
  const taps = R * S
  const folded = new Float32Array(weight.length)
  const bias = new Float32Array(K)
  for (let k = 0; k < K; k++) {
    const scale = bn ? bn.weight[k]! / Math.sqrt(bn.variance[k]! + bn.epsilon) : 1
    if (bn) bias[k] = bn.bias[k]! - bn.mean[k]! * scale
    if (!Number.isFinite(scale) || !Number.isFinite(bias[k]!)) {
      throw nonFinite(`Batch normalisation of channel ${k} fails: its variance is ${bn?.variance[k]}`)
    }
    const first = k * C * taps
    for (let c = 0; c < C; c++) {
      for (let tap = 0; tap < taps; tap++) {
        const value = Math.fround(weight[first + c * taps + tap]! * scale)
        if (!Number.isFinite(value)) throw nonFinite(`A weight of channel ${k} comes to ${value}`)
        folded[first + tap * C + c] = value
      }
    }
  }
  return { weight: folded, bias }
}

function nonFinite(problem: string): ResidualError {
  return new ResidualError('NON_FINITE', `${problem}.`)
}
