// Bias correction: what rounded weights shift the mean of each output channel by is taken off its bias.
//
// Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (https://arxiv.org/abs/1906.04721), with
// means that were seen. Windows that reach over the image's edge count as if they did not.
import { Pauses } from '../base/pauses.ts'
import type { ConvOp, LinearOp } from '../model/ops.ts'
import type { Observation } from '../runtime/native.ts'
import type { QuantizedTensor } from '../weights/tensors/quantized-tensor.ts'
import type { FoldedWeights } from './trial.ts'

/** The bias for the rounded weights; `seen` of the value that the operation reads. */
export async function correctedBias(
  op: ConvOp | LinearOp,
  { weight, bias }: FoldedWeights,
  { integers, scales }: QuantizedTensor,
  seen: Observation,
  pauses = new Pauses(),
): Promise<Float32Array> {
  const { pixels, channelSums } = seen
  if (pixels === 0) return bias
  const groups = op.kind === 'conv' ? op.groups : 1
  const taps = op.kind === 'conv' ? op.kernel ** 2 : 1
  const inputs = channelSums.length / groups
  const outputs = bias.length / groups
  const corrected = new Float32Array(bias.length)
  for (let k = 0, i = 0; k < bias.length; k++) {
    const [first, scale] = [Math.floor(k / outputs) * inputs, scales[k]!] // of the group's channels
    let shift = 0
    for (let c = first; c < first + inputs; c++) {
      let difference = 0
      for (const end = i + taps; i < end; i++) difference += integers[i]! * scale - weight[i]!
      shift += difference * (channelSums[c]! / pixels)
    }
    corrected[k] = bias[k]! - shift
    await pauses.take()
  }
  return corrected
}
