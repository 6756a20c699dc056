// Opening a model by name or path: its checkpoint, of any format and naming scheme, its network, and the settings that go with it.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { checkNames, checkSignal, type Names } from './base/options.ts'
import { quoted, ResidualError, systemReason, wrongType } from './errors.ts'
import { closingOnError } from './files/closing-on-error.ts'
import { caffe, imagenet, inputOf, type Preprocessing } from './image/preprocess.ts'
import { changePreprocessing, type PreprocessingChanges } from './image/preprocessing-changes.ts'
import {
  type Activation,
  activations,
  checkActivation,
  isActivation,
  usualActivation,
} from './model/activation.ts'
import type { Architecture } from './model/architecture.ts'
import { lower } from './model/lower.ts'
import type { Plan } from './model/plan.ts'
import {
  findModel,
  type ModelFile,
  type ModelRecord,
  readJson,
  readModelRecord,
  readShortFile,
} from './model-record.ts'
import { configPath } from './registry/configs.ts'
import { fromConfig, type Sidecar } from './sidecars/config.ts'
import { imagenetNames } from './sidecars/imagenet-names.ts'
import { parseLabelFile, parseLabels } from './sidecars/labels.ts'
import { fromPreprocessorConfig } from './sidecars/preprocessor.ts'
import {
  activationKey,
  type Checkpoint,
  labelsKey,
  preprocessingKey,
} from './weights/checkpoint/checkpoint.ts'
import { openCheckpoint } from './weights/formats/open.ts'
import { type Recognised, recognise } from './weights/names/recognise.ts'

/** Class labels: a list, an object by index, or the path of a file with either, or with one label per line. */
export type Labels = readonly string[] | { readonly [index: number]: string } | string

/** Options that override the settings of a model. */
export interface ModelOptions {
  /** One per class, in order or by index, or the path of a file of them. */
  readonly labels?: Labels
  readonly activation?: Activation
  /** Members left out keep the model's values. */
  readonly preprocessing?: PreprocessingChanges
  /** The prefix of the network's tensor names, if the file holds more than that network. */
  readonly prefix?: string
  /** Overrides what is inferred from the tensors. If `layers` is given, nothing is inferred. */
  readonly architecture?: Partial<Architecture>
  /** Cancels it; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

export const modelOptionNames = {
  labels: true,
  activation: true,
  preprocessing: true,
  prefix: true,
  architecture: true,
  signal: true,
} as const satisfies Names<ModelOptions>

/** An open model, whose tensors are read from the file on demand. Close it after use. */
export interface OpenModel extends Recognised {
  readonly name: string
  readonly checkpoint: Checkpoint
  /** One per class. */
  readonly labels: readonly string[]
  /**
   * Where the labels come from: the model or the caller (`given`), ImageNet-1k's because there are 1000 and no others
   * (`imagenet`), or `class 0`, `class 1`, ... (`numbers`).
   */
  readonly labelsFrom: 'given' | 'imagenet' | 'numbers'
  readonly preprocessing: Preprocessing
  /** The activation that turns logits into probabilities. */
  readonly activation: Activation
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Finds, opens and recognises a model.
 *
 * @param model the name of a bundled or pulled model, the path of a checkpoint, or that of a folder with one under a usual name
 * @throws ResidualError MODEL_NOT_FOUND, FILE_NOT_FOUND, MODEL_INVALID, CHECKPOINT_INVALID, CHECKPOINT_MISMATCH; the signal's
 *   reason
 * @throws TypeError, RangeError for options that do not exist
 */
export async function openModel(model: string, options: ModelOptions = {}): Promise<OpenModel> {
  if (typeof model !== 'string') throw wrongType('a name or a path', 'model', model)
  checkNames(options, modelOptionNames)
  const signal = checkSignal(options.signal)
  signal?.throwIfAborted()
  const file = findModel(model)
  return closingOnError(await openCheckpoint(file.path), async checkpoint => {
    signal?.throwIfAborted()
    return understand(file, checkpoint, options)
  })
}

/**
 * The plan of a model for preprocessed images.
 *
 * @throws ResidualError MODEL_INVALID if the network cannot take images of that size
 */
export function lowerModel({ checkpoint, network, preprocessing, activation }: OpenModel): Plan {
  const input = inputOf(preprocessing)
  try {
    return lower(network, { ...input, activation })
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    const problem = `${checkpoint.path} cannot take images of ${input.height}x${input.width}`
    throw new ResidualError('MODEL_INVALID', `${problem}: ${cause.message}.`, { cause })
  }
}

/**
 * The model in an open checkpoint, as for {@link openModel}. On failure the checkpoint stays open.
 *
 * @throws ResidualError MODEL_INVALID, CHECKPOINT_MISMATCH
 */
export async function understand(
  { name, path }: ModelFile,
  checkpoint: Checkpoint,
  options: ModelOptions = {},
): Promise<OpenModel> {
  const beside = await readSidecars(path)
  const architecture = { ...beside.architecture, ...options.architecture }
  const recognised = recognise(checkpoint, architecture, checkPrefix(options.prefix) ?? beside.prefix)
  const usual = { imagenet, caffe }[recognised.scheme.input]
  const own = { ...usual, ...preprocessingIn(checkpoint) }
  const preprocessing = changePreprocessing(beside.preprocessing ?? own, options.preprocessing)
  const { classes = 1000 } = recognised.architecture
  const named = (await labelsOf(options.labels)) ?? beside.labels ?? labelsIn(checkpoint)
  const labelsFrom = named ? 'given' : classes === imagenetNames.length ? 'imagenet' : 'numbers'
  const labels =
    named ??
    (labelsFrom === 'imagenet' ? imagenetNames : Array.from({ length: classes }, (_, i) => `class ${i}`))
  if (labels.length !== classes) {
    const problem = `There are ${labels.length} labels for the ${classes} classes of ${path}`
    throw new ResidualError('MODEL_INVALID', `${problem}. Give matching ones with --labels, or 'labels'.`)
  }
  const activation =
    options.activation === undefined
      ? (beside.activation ?? activationIn(checkpoint) ?? usualActivation(classes))
      : checkActivation(options.activation)
  const close = () => checkpoint.close()
  return {
    ...recognised,
    ...{ name, checkpoint, labels, labelsFrom, preprocessing, activation, close },
    [Symbol.asyncDispose]: close,
  }
}

/** @throws ResidualError MODEL_INVALID, FILE_NOT_FOUND */
async function labelsOf(given: Labels | undefined): Promise<string[] | undefined> {
  if (given === undefined) return undefined
  if (typeof given !== 'string') return parseLabels(given, 'the options')
  const text = await readShortFile(given).catch((cause: unknown) => {
    const problem = `The labels ${given} cannot be read: ${systemReason(cause)}`
    throw new ResidualError('FILE_NOT_FOUND', `${problem}.`, { cause })
  })
  return parseLabelFile(text, given)
}

/** The preprocessing that the file says its network expects. */
function preprocessingIn({ metadata }: Checkpoint): Partial<Preprocessing> {
  const said = metadata.get(preprocessingKey)
  return said === undefined ? {} : JSON.parse(said)
}

/** Labels that training left in the file. */
function labelsIn({ metadata, path }: Checkpoint): string[] | undefined {
  const labels = metadata.get(labelsKey)
  return labels === undefined ? undefined : parseLabels(JSON.parse(labels), path)
}

function checkPrefix(prefix: unknown): string | undefined {
  if (prefix === undefined || typeof prefix === 'string') return prefix
  throw wrongType('a string', 'prefix', prefix)
}

/** The activation that the file itself states. */
function activationIn({ metadata, path }: Checkpoint): Activation | undefined {
  const said = metadata.get(activationKey)
  if (said === undefined || isActivation(said)) return said
  throw new ResidualError(
    'MODEL_INVALID',
    `${path} ends with the activation ${quoted(said)}, which is not supported. ` +
      `Choose one to use instead (--activation, or 'activation'): ${activations.join(', ')}.`,
  )
}

/** The settings in the files next to a checkpoint: our record first, then those of Hugging Face's libraries. */
async function readSidecars(path: string): Promise<Sidecar & Pick<ModelRecord, 'prefix'>> {
  // Those of a pulled checkpoint carry its name.
  const [config, preprocessor] = ['config.json', 'preprocessor_config.json'].map(name => {
    const pulled = configPath(path, name)
    return existsSync(pulled) ? pulled : join(dirname(path), name)
  }) as [string, string]
  const own = await readModelRecord({ path })
  if (own.architecture?.layers !== undefined && own.labels && own.preprocessing) return own // nothing else is needed
  const configJson = await readJson(config)
  const theirs = configJson ? fromConfig(configJson, config) : {}
  const preprocessorJson = theirs.architecture && (await readJson(preprocessor))
  return {
    ...theirs,
    ...(preprocessorJson && { preprocessing: fromPreprocessorConfig(preprocessorJson, preprocessor) }),
    ...own,
    architecture: { ...theirs.architecture, ...own.architecture },
  }
}
