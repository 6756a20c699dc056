// Convolutions that take means: a pool of 2x2 merged into the 1x1 convolution after it, which is then the same for all four pixels.
import { refusedCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { Integers } from './integers.ts'
import type { OnnxTensor } from './tensor.ts'

export const averagedPixels = 4

/**
 * The weights of one of the pixels, `[K,C,1,1]`, of `[K,C,2,2]`.
 *
 * @throws ResidualError CHECKPOINT_INVALID if they differ between pixels
 */
export function ofOnePixel<T extends Float32Array | Integers>(
  { name }: Pick<OnnxTensor, 'name'>,
  weights: T,
  path: string,
): T {
  const result = weights.slice(0, weights.length / averagedPixels) as T
  for (let i = 0; i < result.length; i++) {
    const at = i * averagedPixels
    result[i] = weights[at]!
    for (let pixel = 1; pixel < averagedPixels; pixel++)
      if (weights[at + pixel] !== weights[at])
        throw refusedCheckpoint({ path }, `'${name}' is 2x2 and not a mean, which no ResNet has`)
  }
  return result
}

/** The shape of those weights. */
export const onePixelShape = ([channels = 0, inputs = 0]: readonly number[]) => [channels, inputs, 1, 1]
