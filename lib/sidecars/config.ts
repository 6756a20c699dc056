// A checkpoint's `config.json`, as transformers writes it, and timm for the hub.
import { quoted, ResidualError } from '../errors.ts'
import { imagenet, type Preprocessing, parsePreprocessing, type Step } from '../image/preprocess.ts'
import type { Activation } from '../model/activation.ts'
import type { Architecture } from '../model/architecture.ts'
import { type Fields, flag, labels, malformed, object, positive } from './fields.ts'
import { interpolationOf } from './preprocessor.ts'

/** What foreign files say about a network; members are absent if they do not say. */
export interface Sidecar {
  readonly architecture?: Partial<Architecture>
  readonly labels?: readonly string[]
  readonly activation?: Activation
  readonly preprocessing?: Preprocessing
}

/**
 * The contents of `config.json`; empty for a file of neither library.
 *
 * @throws ResidualError MODEL_INVALID, CHECKPOINT_MISMATCH for networks that are not supported even though their tensors may fit
 */
export function fromConfig(json: Fields['json'], file: string): Sidecar {
  if (json.model_type === 'resnet') return fromTransformers({ json, file })
  if (typeof json.architecture === 'string') return fromTimm({ json, file }, json.architecture)
  return {}
}

function fromTransformers(fields: Fields): Sidecar {
  const { json, file } = fields
  const activation = json.hidden_act ?? 'relu'
  if (activation !== 'relu') throw cannotRun(file, `the activation ${quoted(activation)}`)
  if (flag(fields, 'downsample_in_first_stage', false)) throw cannotRun(file, 'a stride in the first stage')
  const named = labels(fields, 'id2label')
  const isNamed = named && !named.every((label, i) => label === `LABEL_${i}`) // what transformers writes without names
  return {
    architecture: { stride: flag(fields, 'downsample_in_bottleneck', false) ? 'v1' : 'v1.5' },
    ...(isNamed && { labels: named }),
    ...problemOf(fields),
  }
}

/** Activations by transformers' `problem_type`, which says what the network was trained for. */
const problems: { readonly [type: string]: Activation } = {
  single_label_classification: 'softmax',
  multi_label_classification: 'sigmoid',
  regression: 'none',
}

function problemOf({ json, file }: Fields): { activation?: Activation } {
  const type = json.problem_type ?? undefined
  if (type === undefined) return {}
  const known = typeof type === 'string' && Object.hasOwn(problems, type)
  if (!known) throw malformed(file, 'problem_type', type, `one of ${Object.keys(problems).join(', ')}`)
  return { activation: problems[type]! }
}

/**
 * The timm networks that match ours, under current names and those before timm 0.9. Others may have the same tensors but
 * compute something else. `c`, `d`, `s` and `t` have deep stems, which the tensors reveal.
 */
const plainNames =
  /^((tv|ssl|swsl|ig|gluon)_)?(wide_)?resnex?t(18|34|50|101|152)[cdst]?(_(2|v1[bcds]|\d+x\d+d))?$/

/** Arguments of timm's models that do not affect what is computed from given tensors. */
const harmless = ['num_classes', 'in_chans', 'img_size', 'drop_rate', 'drop_path_rate', 'drop_block_rate']

/** Arguments that affect it unless they have their default value. Since 1.0.31 timm writes some even if nobody set them. */
const defaults: { readonly [argument: string]: readonly unknown[] } = {
  global_pool: ['avg', 'fastavg', 'fast'],
  output_stride: [32],
}

function fromTimm({ json, file }: Fields, name: string): Sidecar {
  if (!plainNames.test(name)) throw cannotRun(file, `the architecture ${quoted(name)} of timm`)
  // The pooling is at the top level, even now that there are `model_args`.
  const pooling = json.global_pool === undefined ? {} : { global_pool: json.global_pool }
  const given: object = { ...pooling, ...object({ json, file }, 'model_args') }
  for (const [argument, value] of Object.entries(given)) {
    if (harmless.includes(argument) || defaults[argument]?.includes(value)) continue
    throw cannotRun(file, `the model argument ${quoted(argument)}: ${quoted(value)}`)
  }
  // Before timm 0.9 the members of `pretrained_cfg` were at the top level.
  const fields = { json: { ...json, ...object({ json, file }, 'pretrained_cfg') }, file }
  const { mean, std, interpolation } = fields.json
  const preprocessing = parsePreprocessing(
    {
      steps: timmSteps(fields),
      interpolation: interpolationOf(interpolation ?? 'bicubic', file),
      mean: mean ?? imagenet.mean,
      std: std ?? imagenet.std,
    },
    file,
  )
  const named = labels(fields, 'label_names') ?? labels(fields, 'labels')
  return { preprocessing, ...(named && { labels: named }) }
}

function timmSteps(fields: Fields): Step[] {
  const { crop_mode: mode, input_size: size } = fields.json
  const [, height, width] = Array.isArray(size) ? size : [3, 224, 224]
  const fraction = positive(fields, 'crop_pct', 0.875)
  const enlarged = (side: number) => Math.floor(side / fraction)
  const crop = { height, width }
  if (mode === 'squash') return [{ resize: { height: enlarged(height), width: enlarged(width) } }, { crop }]
  if ((mode ?? 'center') === 'center' && height === width)
    return [{ resize: { shorterSide: enlarged(height) } }, { crop }]
  throw new ResidualError(
    'MODEL_INVALID',
    `${fields.file} asks for an unsupported crop: ${quoted(mode)} to ${quoted(size)}.`,
  )
}

function cannotRun(file: string, what: string): ResidualError {
  return new ResidualError('CHECKPOINT_MISMATCH', `${file} describes an unsupported network: it has ${what}.`)
}
