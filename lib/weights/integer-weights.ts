// The weights of an operation in int8 as it is computed: those of its file, or float ones rounded as when they are loaded.
import type { Plan } from '../model/plan.ts'
import { type QuantizedWeights, readFolded, readQuantized, type WeightedOp } from './op-weights.ts'
import type { WeightSource } from './source.ts'
import { nearestIntegers } from './tensors/quantized-tensor.ts'

/** The largest integer that a sum may begin with: what a bias comes to. */
export const mostBias = 2 ** 30

/**
 * The weights in arrays that the caller owns. Channels whose weights are so small that the bias would come to more than
 * {@link mostBias} have a larger scale.
 *
 * @param srcScale of the values that they are multiplied by
 * @throws ResidualError what {@link readFolded} and {@link readQuantized} throw
 */
export async function integerWeights(
  plan: Plan,
  op: WeightedOp,
  source: WeightSource,
  srcScale: number,
): Promise<QuantizedWeights> {
  const stored = await readQuantized(plan, op, source)
  const { integers, scale, bias } = stored ?? rounded(await readFolded(plan, op, source))
  const perChannel = integers.length / bias.length
  for (const [k, value] of bias.entries()) {
    const least = Math.fround(Math.abs(value) / (srcScale * mostBias))
    if (scale[k]! >= least) continue
    const channel = integers.subarray(k * perChannel, (k + 1) * perChannel)
    for (const [i, integer] of channel.entries()) channel[i] = Math.round((integer * scale[k]!) / least)
    scale[k] = least
  }
  return { integers, scale, bias }
}

function rounded({
  weight,
  bias,
}: {
  readonly weight: Float32Array
  readonly bias: Float32Array
}): QuantizedWeights {
  const { integers, scales } = nearestIntegers(weight, bias.length)
  return { integers, scale: Float64Array.from(scales), bias }
}
