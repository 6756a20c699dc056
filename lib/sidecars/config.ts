// What does the `config.json` beside a checkpoint say of it? As transformers writes it, and as timm does for the hub.
import { ResidualError } from '../errors.ts'
import { imagenet, type Preprocessing, parsePreprocessing, type Step } from '../image/preprocess.ts'
import type { ResNetOptions } from '../model/resnet.ts'
import { interpolationOf } from './preprocessor.ts'

type Json = { readonly [key: string]: unknown }

/** What others' files say of a network; each member only where they do. */
export interface Sidecar {
  readonly architecture?: Partial<ResNetOptions>
  readonly labels?: readonly string[]
  readonly preprocessing?: Preprocessing
}

/**
 * What `config.json` says. A file that is of neither library says nothing.
 *
 * @throws ResidualError MODEL_INVALID, CHECKPOINT_MISMATCH for networks that cannot be run though their tensors may fit
 */
export function fromConfig(json: Json, file: string): Sidecar {
  if (json.model_type === 'resnet') return fromTransformers(json, file)
  if (typeof json.architecture === 'string') return fromTimm(json, json.architecture, file)
  return {}
}

function fromTransformers(json: Json, file: string): Sidecar {
  const { hidden_act: activation = 'relu', id2label } = json
  if (activation !== 'relu') throw cannotRun(file, `activation '${activation}'`)
  if (json.downsample_in_first_stage === true) throw cannotRun(file, 'a stride in the first stage')
  const labels = labelsOf(id2label)
  return {
    architecture: { stride: json.downsample_in_bottleneck === true ? 'v1' : 'v1.5' },
    ...(labels && { labels }),
  }
}

/** `{"0": "tench", "1": "goldfish"}` in order; undefined where that has holes. */
function labelsOf(byIndex: unknown): string[] | undefined {
  if (typeof byIndex !== 'object' || byIndex === null) return undefined
  const entries = Object.entries(byIndex)
  const labels = entries.map((_, i) => (byIndex as Json)[i])
  return labels.every(label => typeof label === 'string') ? labels : undefined
}

/** Those of timm's networks that are what we build. Others may have the same tensors and compute something else with them. */
const plainNames = /^(wide_)?resnex?t(18|34|50|101|152)(_(2|\d+x\d+d))?$/

function fromTimm(json: Json, name: string, file: string): Sidecar {
  if (!plainNames.test(name)) throw cannotRun(file, `the architecture '${name}' of timm`)
  // Before timm 0.9 what is in `pretrained_cfg` lay beside it.
  const config = { ...json, ...(json.pretrained_cfg as Json | undefined) }
  const { mean = imagenet.mean, std = imagenet.std, interpolation = 'bicubic', label_names: labels } = config
  const preprocessing = parsePreprocessing(
    { steps: timmSteps(config, file), interpolation: interpolationOf(interpolation, file), mean, std },
    file,
  )
  const named = Array.isArray(labels) && labels.every(label => typeof label === 'string')
  return { preprocessing, ...(named && { labels }) }
}

function timmSteps(
  { input_size: size, crop_pct: fraction = 0.875, crop_mode: mode = 'center' }: Json,
  file: string,
): Step[] {
  const [, height, width] = Array.isArray(size) ? size : [3, 224, 224]
  const enlarged = (side: number) => Math.floor(side / Number(fraction))
  const crop = { height, width }
  if (mode === 'squash') return [{ resize: { height: enlarged(height), width: enlarged(width) } }, { crop }]
  if (mode === 'center' && height === width) return [{ resize: { shorterSide: enlarged(height) } }, { crop }]
  throw new ResidualError(
    'MODEL_INVALID',
    `${file} asks for a crop that there is none of here: '${mode}' to ${height}x${width}.`,
  )
}

function cannotRun(file: string, what: string): ResidualError {
  return new ResidualError(
    'CHECKPOINT_MISMATCH',
    `${file} tells of a network that cannot be run: it has ${what}.`,
  )
}
