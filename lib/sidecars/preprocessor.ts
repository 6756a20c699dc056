// What does Hugging Face's `preprocessor_config.json` say of pictures? As transformers' image processors read it.
import { ResidualError } from '../errors.ts'
import { imagenet, type Preprocessing, parsePreprocessing, type Step } from '../image/preprocess.ts'

type Json = { readonly [key: string]: unknown }

/** By the number that Pillow has for a filter, and by its name in timm. */
const filters: { readonly [filter: string]: Preprocessing['interpolation'] } = {
  2: 'bilinear',
  3: 'bicubic',
  bilinear: 'bilinear',
  bicubic: 'bicubic',
}

/** ConvNextImageProcessor, which the ResNets have, does not crop what is at least this large. */
const squashedFrom = 384

/**
 * The preprocessing of a `preprocessor_config.json`.
 *
 * @throws ResidualError MODEL_INVALID
 */
export function fromPreprocessorConfig(json: Json, file: string): Preprocessing {
  const { resample = 3, image_mean: mean = imagenet.mean, image_std: std = imagenet.std } = json
  const {
    do_rescale: rescales = true,
    rescale_factor: factor = 1 / 255,
    do_normalize: normalises = true,
  } = json
  const steps = stepsOf(json)
  const range = rescales ? 255 * Number(factor) : 255
  return parsePreprocessing(
    {
      steps,
      interpolation: interpolationOf(resample, file),
      mean: normalises ? mean : [0, 0, 0],
      std: normalises ? std : [1, 1, 1],
      ...(Math.abs(range - 1) > 1e-9 && { range }),
    },
    file,
  )
}

/** @throws ResidualError MODEL_INVALID for filters that there are none of here */
export function interpolationOf(filter: unknown, file: string): Preprocessing['interpolation'] {
  const found = filters[String(filter)]
  if (found) return found
  const problem = `${file} asks for the interpolation ${JSON.stringify(filter)}`
  throw new ResidualError('MODEL_INVALID', `${problem}; there are bilinear and bicubic.`)
}

function stepsOf(json: Json): Step[] {
  const { size, crop_pct: cropFraction, do_resize: resizes = true, crop_size: cropSize } = json
  const crops = json.do_center_crop ?? cropSize !== undefined
  const steps: Step[] = []
  const side = shorterSide(size)
  if (side !== undefined && resizes) {
    // A processor that knows a crop fraction, or says nothing of crops and takes a shorter side, is ConvNeXt's.
    const convNext = cropFraction !== undefined || !crops
    if (convNext && side < squashedFrom) {
      const fraction = typeof cropFraction === 'number' ? cropFraction : 224 / 256
      return [
        { resize: { shorterSide: Math.floor(side / fraction) } },
        { crop: { height: side, width: side } },
      ]
    }
    if (convNext) return [{ resize: { height: side, width: side } }]
    steps.push({ resize: { shorterSide: side } })
  } else if (resizes && isSize(size)) steps.push({ resize: pick(size) })
  if (crops) {
    const crop = typeof cropSize === 'number' ? { height: cropSize, width: cropSize } : cropSize
    if (isSize(crop)) steps.push({ crop: pick(crop) })
  }
  return steps
}

/** `224` and `{"shortest_edge": 224}` mean the shorter side. */
function shorterSide(size: unknown): number | undefined {
  if (typeof size === 'number') return size
  const edge = (size as Json | null | undefined)?.shortest_edge
  return typeof edge === 'number' ? edge : undefined
}

interface Extent {
  readonly height: number
  readonly width: number
}

const isSize = (size: unknown): size is Extent =>
  typeof size === 'object' && size !== null && 'height' in size && 'width' in size
const pick = ({ height, width }: Extent): Extent => ({ height, width })
