// Hugging Face's `preprocessor_config.json`, read as transformers' image processors read it.
import { quoted, ResidualError } from '../errors.ts'
import { imagenet, type Preprocessing, parsePreprocessing, type Step } from '../image/preprocess.ts'
import { type Fields, flag, malformed, positive } from './fields.ts'

/** By Pillow's number of a filter, and by its name in timm. */
const filters = new Map<unknown, Preprocessing['interpolation']>([
  [2, 'bilinear'],
  [3, 'bicubic'],
  ['bilinear', 'bilinear'],
  ['bicubic', 'bicubic'],
])

/** ConvNextImageProcessor, which ResNets use, does not crop sizes from this on. */
const squashedFrom = 384

/**
 * The preprocessing of a `preprocessor_config.json`.
 *
 * @throws ResidualError MODEL_INVALID
 */
export function fromPreprocessorConfig(json: Fields['json'], file: string): Preprocessing {
  const fields = { json, file }
  const steps = stepsOf(fields)
  const range = flag(fields, 'do_rescale', true) ? 255 * positive(fields, 'rescale_factor', 1 / 255) : 255
  const normalises = flag(fields, 'do_normalize', true)
  if (flag(fields, 'do_pad', false)) throw malformed(file, 'do_pad', true, 'false, the only supported value')
  return parsePreprocessing(
    {
      steps,
      interpolation: interpolationOf(json.resample ?? 3, file),
      mean: normalises ? perChannel(json.image_mean ?? imagenet.mean) : [0, 0, 0],
      std: normalises ? perChannel(json.image_std ?? imagenet.std) : [1, 1, 1],
      ...(Math.abs(range - 1) > 1e-9 && { range }),
      ...(steps.some(step => 'crop' in step) && { cropRounding: 'down' }),
    },
    file,
  )
}

const perChannel = (value: unknown) => (typeof value === 'number' ? [value, value, value] : value)

/** @throws ResidualError MODEL_INVALID for unsupported filters */
export function interpolationOf(filter: unknown, file: string): Preprocessing['interpolation'] {
  const found = filters.get(filter)
  if (found) return found
  const problem = `${file} asks for the unsupported interpolation ${quoted(filter)}`
  throw new ResidualError('MODEL_INVALID', `${problem}; supported are bilinear and bicubic.`)
}

function stepsOf(fields: Fields): Step[] {
  const { json, file } = fields
  const cropSize = json.crop_size ?? undefined
  const crops = flag(fields, 'do_center_crop', cropSize !== undefined)
  // A processor with a crop fraction, or with a shorter side and no mention of crops, is ConvNeXt's.
  const convNext = (json.crop_pct ?? undefined) !== undefined || !crops
  const steps: Step[] = []
  if (flag(fields, 'do_resize', true)) {
    const { shortest_edge: shorterSide, ...size } = sizeOf(json.size, file)
    if (shorterSide === undefined) steps.push({ resize: size as Extent })
    else if (!convNext) steps.push({ resize: { shorterSide } })
    else if (shorterSide >= squashedFrom) steps.push({ resize: { height: shorterSide, width: shorterSide } })
    else {
      const resized = Math.floor(shorterSide / positive(fields, 'crop_pct', 224 / 256))
      steps.push({ resize: { shorterSide: resized } }, { crop: { height: shorterSide, width: shorterSide } })
    }
  }
  if (crops) steps.push({ crop: cropOf(cropSize, file) })
  return steps
}

interface Extent {
  readonly height: number
  readonly width: number
}

type Size = { readonly shortest_edge: number } | ({ readonly shortest_edge?: undefined } & Extent)

/** `224` and `{"shortest_edge": 224}` mean the shorter side, `{"height": 224, "width": 224}` both. There are others. */
function sizeOf(size: unknown, file: string): Size {
  if (typeof size === 'number') return { shortest_edge: size }
  const keys = keysOf(size)
  if (keys === 'shortest_edge') return { shortest_edge: (size as { shortest_edge: number }).shortest_edge }
  if (keys === 'height,width') return pick(size as Extent)
  throw malformed(file, 'size', size, 'a shorter side or a height and a width')
}

function cropOf(size: unknown, file: string): Extent {
  if (typeof size === 'number') return { height: size, width: size }
  if (keysOf(size) === 'height,width') return pick(size as Extent)
  throw malformed(file, 'crop_size', size, 'a height and a width')
}

const pick = ({ height, width }: Extent): Extent => ({ height, width })

/** The keys that are set: transformers writes null for others. */
function keysOf(size: unknown): string {
  const given = Object.entries(size ?? {}).filter(([, value]) => value !== null)
  return given
    .map(([key]) => key)
    .sort()
    .join()
}
