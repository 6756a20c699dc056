// Bias correction: what rounded weights shift the mean of each output channel by is taken off its bias.
//
// Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (https://arxiv.org/abs/1906.04721), with
// means that were seen. Windows that reach over the image's edge count as if they did not.
import type { ConvOp, LinearOp } from '../model/ops.ts'
import type { Observation } from '../runtime/native.ts'
import type { QuantizedTensor } from '../weights/tensors/quantized-tensor.ts'
import type { FoldedWeights } from './trial.ts'

/** The bias for the rounded weights; `seen` of the value that the operation reads. */
export function correctedBias(
  op: ConvOp | LinearOp,
  { weight, bias }: FoldedWeights,
  rounded: QuantizedTensor,
  seen: Observation,
): Float32Array {
  const { pixels, channelSums } = seen
  if (pixels === 0) return bias
  const groups = op.kind === 'conv' ? op.groups : 1
  const taps = op.kind === 'conv' ? op.kernel ** 2 : 1
  const inputs = channelSums.length / groups
  const outputs = bias.length / groups
  return bias.map((b, k) => {
    const first = Math.floor(k / outputs) * inputs // of the group's channels
    let shift = 0
    for (let c = 0, i = k * inputs * taps; c < inputs; c++) {
      let difference = 0
      for (let tap = 0; tap < taps; tap++, i++)
        difference += rounded.integers[i]! * rounded.scales[k]! - weight[i]!
      shift += difference * (channelSums[first + c]! / pixels)
    }
    return b - shift
  })
}
