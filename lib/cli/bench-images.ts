// The images of `residual bench`: those of a folder, or generated ones.
import type { Samples } from '../benchmark/engine.ts'
import { generateSamples } from '../benchmark/samples.ts'
import { ResidualError } from '../errors.ts'
import { decode } from '../image/decode.ts'
import { inputSize, type Preprocessing, preprocess } from '../image/preprocess.ts'
import type { Plan } from '../model/plan.ts'
import { findInputs, type Input } from './classify/inputs.ts'

export interface BenchImages {
  /** What engines are compared on. */
  readonly samples: Samples
  /** Others, which a network may be quantized with. */
  readonly calibration: Samples
}

const mostCalibration = 256
const generatedCalibration = 64

/** `count` images to compare engines on and some others, all different. */
export function generatedImages(plan: Plan, count: number): BenchImages {
  return {
    samples: generateSamples(plan, count),
    calibration: generateSamples(plan, generatedCalibration, /*seed=*/ 2),
  }
}

/**
 * Images of a folder, spread over all of its subfolders: at most `count` and at most half of them to compare engines on, and up
 * to 256 others.
 *
 * @throws ResidualError FILE_NOT_FOUND for a folder without two images, or what decoding one throws
 */
export async function imagesOf(
  folder: string,
  preprocessing: Preprocessing,
  count: number,
): Promise<BenchImages> {
  const { inputs, failures } = await findInputs([folder])
  if (failures.length > 0) throw failures[0]!.error
  if (inputs.length < 2)
    throw new ResidualError(
      'FILE_NOT_FOUND',
      `${folder} has a single image: one to compare engines on and one to quantize with are needed.`,
    )
  const compared = spread(inputs, Math.min(count, Math.floor(inputs.length / 2)))
  const others = inputs.filter(input => !compared.includes(input))
  return {
    samples: await prepared(compared, preprocessing),
    calibration: await prepared(spread(others, Math.min(mostCalibration, others.length)), preprocessing),
  }
}

/** `count` of the inputs, at even distances. */
const spread = (inputs: readonly Input[], count: number) =>
  Array.from({ length: count }, (_, i) => inputs[Math.floor((i * inputs.length) / count)]!)

async function prepared(inputs: readonly Input[], preprocessing: Preprocessing): Promise<Samples> {
  const { height, width } = inputSize(preprocessing)
  const bytes = new Uint8Array(inputs.length * height * width * 3)
  for (const [i, { source }] of inputs.entries()) {
    const { pixels } = await preprocess(await decode(source), preprocessing)
    bytes.set(pixels, i * height * width * 3)
  }
  return { bytes, dims: [inputs.length, height, width, 3] }
}
