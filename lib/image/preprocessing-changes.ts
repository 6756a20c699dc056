// Partial overrides of a checkpoint's preprocessing.

import { checkNames, type Names } from '../base/options.ts'
import { ResidualError } from '../errors.ts'
import { inputSize, type Preprocessing, parsePreprocessing, type Step } from './preprocess.ts'

/** Replacements for members of a {@link Preprocessing}. */
export interface PreprocessingChanges extends Partial<Preprocessing> {
  /**
   * Instead of `steps`: the fraction of the shorter side that the network sees, above 0 and up to 1, like timm's `crop_pct`.
   * The image is resized by its shorter side and cropped to the network's previous input size, which must be square.
   */
  readonly cropFraction?: number
}

/** What a preprocessing can be changed in. */
export const changeNames = {
  steps: true,
  interpolation: true,
  mean: true,
  std: true,
  range: true,
  channels: true,
  cropRounding: true,
  cropFraction: true,
} as const satisfies Names<PreprocessingChanges>

/**
 * `preprocessing` with some members replaced.
 *
 * @throws ResidualError MODEL_INVALID if the result cannot be applied
 * @throws TypeError, RangeError for changes of members that do not exist
 */
export function changePreprocessing(
  preprocessing: Preprocessing,
  changes: PreprocessingChanges | undefined,
): Preprocessing {
  if (changes === undefined) return preprocessing
  checkNames(changes, changeNames, 'preprocessing')
  const { cropFraction, ...members } = changes
  const changed = parsePreprocessing({ ...preprocessing, ...members }, 'the options')
  if (cropFraction === undefined) return changed
  if (members.steps !== undefined) throw invalid("has both 'steps' and a 'cropFraction'")
  return parsePreprocessing({ ...changed, steps: croppedTo(inputSize(changed), cropFraction) }, 'the options')
}

function croppedTo(crop: { readonly height: number; readonly width: number }, fraction: unknown): Step[] {
  if (!(typeof fraction === 'number' && fraction > 0 && fraction <= 1))
    throw invalid("has a 'cropFraction' that is not a number above 0 and up to 1")
  const { height, width } = crop
  if (height !== width) throw invalid(`has a 'cropFraction' for images of ${height}x${width}; give 'steps'`)
  return [{ resize: { shorterSide: Math.floor(height / fraction) } }, { crop }]
}

const invalid = (what: string) =>
  new ResidualError('MODEL_INVALID', `The preprocessing in the options ${what}.`)
