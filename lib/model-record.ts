// Model records: a checkpoint's architecture, labels, activation and preprocessing, in a JSON file of the same name next to it.
import { existsSync, readdirSync, statSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { packageRoot } from './base/package-root.ts'
import { quoted, ResidualError, systemReason } from './errors.ts'
import { type Preprocessing, parsePreprocessing } from './image/preprocess.ts'
import { type Activation, activations, isActivation } from './model/activation.ts'
import { type Architecture, architectureNames, networkOf } from './model/architecture.ts'
import { cachedModel } from './registry/cache.ts'
import { pullHint, remoteHint } from './registry/source.ts'
import { parseLabels } from './sidecars/labels.ts'
import { checkpointStem, recordPath } from './weights/checkpoint/record-path.ts'

/** The contents of the JSON file; every member is optional. */
export interface ModelRecord {
  /** Options of {@link resnet}. Those absent are inferred from the tensors, unless `layers` is given. */
  readonly architecture?: Partial<Architecture>
  /** One per class, in order; `class 0`, `class 1`, ... if absent. */
  readonly labels?: readonly string[]
  /** The activation that turns logits into probabilities. If absent, the file's own, else softmax, or sigmoid for one class. */
  readonly activation?: Activation
  /** The prefix of the network's tensor names, if the file holds more than that network. */
  readonly prefix?: string
  /** The naming scheme's usual preprocessing if absent. */
  readonly preprocessing?: Preprocessing
}

/** A checkpoint on this machine. */
export interface ModelFile {
  readonly name: string
  readonly path: string
}

const extension = '.safetensors'
const modelsFolder = join(packageRoot, 'models')

/** The models that come with the package. */
export function bundledModels(): ModelFile[] {
  return readdirSync(modelsFolder)
    .filter(file => file.endsWith(extension))
    .map(file => ({ name: basename(file, extension), path: join(modelsFolder, file) }))
}

/** Usual names of the checkpoint in a model's folder, the likeliest first. */
const usualNames = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
]

/**
 * The checkpoint that `model` names: a bundled model, a file of any format, a folder in Hugging Face's layout, or a pulled
 * model.
 *
 * @throws ResidualError MODEL_NOT_FOUND
 */
export function findModel(model: string): ModelFile {
  const bundled = bundledModels()
  const found = bundled.find(({ name }) => name === model)
  if (found) return found
  const stat = statOf(model)
  if (stat?.isDirectory()) return inFolder(model)
  const asPath = { name: checkpointStem(model), path: model }
  if (stat) return asPath
  const pulled = cachedModel(model)
  if (pulled) return pulled
  const remote = remoteHint(model)
  if (remote !== undefined)
    throw new ResidualError('MODEL_NOT_FOUND', `There is no file '${model}'. ${remote}`)
  // Opening a missing file reports it; only text that does not look like a path can be a name.
  if (model.endsWith(extension) || /[/\\]/.test(model)) return asPath
  throw new ResidualError(
    'MODEL_NOT_FOUND',
    `There is no file '${model}', no bundled model of that name ` +
      `(bundled: ${bundled.map(({ name }) => name).join(', ')}), and no pulled one.${pullHint(model)}`,
  )
}

/** @throws ResidualError FILE_NOT_FOUND for an invalid path, or one that leads nowhere */
function statOf(model: string) {
  try {
    return statSync(model, { throwIfNoEntry: false })
  } catch (cause) {
    const problem = `The model ${model} cannot be opened: ${systemReason(cause)}`
    throw new ResidualError('FILE_NOT_FOUND', `${problem}.`, { cause })
  }
}

function inFolder(folder: string): ModelFile {
  const path = usualNames.map(name => join(folder, name)).find(each => existsSync(each))
  if (path !== undefined) return { name: basename(resolve(folder)), path }
  if (existsSync(join(folder, 'saved_model.pb')))
    throw new ResidualError(
      'MODEL_NOT_FOUND',
      `The folder ${folder} is a TensorFlow SavedModel, which is not supported. ` +
        "Load it in Python and save it with Keras as '.keras' or '.h5', or convert it to ONNX with tf2onnx.",
    )
  throw new ResidualError(
    'MODEL_NOT_FOUND',
    `The folder ${folder} contains none of ${usualNames.join(', ')}. Give the path of the checkpoint's file.`,
  )
}

/**
 * The record next to a checkpoint; empty if there is no such file.
 *
 * @throws ResidualError MODEL_INVALID
 */
export async function readModelRecord({ path }: Pick<ModelFile, 'path'>): Promise<ModelRecord> {
  const file = recordPath(path)
  const record = await readJson(file)
  return record && !isOfFramework(record) ? parseModelRecord(record, file) : {}
}

/**
 * The object in a JSON file; undefined if there is no file.
 *
 * @throws ResidualError MODEL_INVALID
 */
export async function readJson(file: string): Promise<{ [key: string]: unknown } | undefined> {
  let record: unknown
  try {
    record = JSON.parse(await readShortFile(file))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    const problem = cause instanceof SyntaxError ? 'is not JSON' : 'cannot be read'
    throw new ResidualError('MODEL_INVALID', `${file} ${problem}: ${(cause as Error).message}.`, { cause })
  }
  if (!isObject(record)) throw new ResidualError('MODEL_INVALID', `${file} does not hold an object.`)
  return record
}

const longestFile = 64 * 2 ** 20 // labels of 21,000 classes take 1 MiB

export async function readShortFile(file: string): Promise<string> {
  const { size } = await stat(file)
  if (size <= longestFile) return await readFile(file, 'utf8')
  throw new Error(`it has ${size} bytes, more than the limit of ${longestFile}`)
}

const recordMembers = ['architecture', 'labels', 'activation', 'prefix', 'preprocessing', 'origin']
const architectureMembers = Object.keys(architectureNames)

/**
 * Whether it is the output of Keras' `model.to_json()`, or a Paddle program: both lie next to the weights under the same name.
 */
function isOfFramework(record: { [key: string]: unknown }): boolean {
  return ('class_name' in record && 'config' in record) || ('base_code' in record && 'program' in record)
}

/** An unknown member is probably a typo, and would be ignored. */
function checkMembers(object: object, known: readonly string[], what: string): void {
  const unknown = Object.keys(object).find(name => !known.includes(name) && name !== 'comment')
  if (unknown === undefined) return
  throw new ResidualError(
    'MODEL_INVALID',
    `${what} ${quoted(unknown)}, which is not one of ${known.join(', ')}.`,
  )
}

function parseModelRecord(record: { [key: string]: unknown }, file: string): ModelRecord {
  checkMembers(record, recordMembers, `${file} has`)
  const { architecture, labels, activation, prefix, preprocessing } = record
  if (architecture !== undefined && !isObject(architecture)) {
    throw new ResidualError('MODEL_INVALID', `'architecture' in ${file} is not an object.`)
  }
  if (activation !== undefined && !isActivation(activation)) {
    const problem = `'activation' in ${file} is ${quoted(activation)}, not one of ${activations.join(', ')}`
    throw new ResidualError('MODEL_INVALID', `${problem}.`)
  }
  if (prefix !== undefined && typeof prefix !== 'string')
    throw new ResidualError('MODEL_INVALID', `'prefix' in ${file} is ${quoted(prefix)}, not a string.`)
  if (architecture) checkArchitecture(architecture, file)
  return {
    ...(architecture ? { architecture } : {}),
    ...(labels === undefined ? {} : { labels: parseLabels(labels, file) }),
    ...(activation === undefined ? {} : { activation }),
    ...(prefix === undefined ? {} : { prefix }),
    ...(preprocessing === undefined ? {} : { preprocessing: parsePreprocessing(preprocessing, file) }),
  }
}

function checkArchitecture(architecture: Partial<Architecture>, file: string): void {
  checkMembers(architecture, architectureMembers, `'architecture' in ${file} has`)
  try {
    networkOf({ layers: 50, ...architecture })
  } catch (cause) {
    throw new ResidualError(
      'MODEL_INVALID',
      `'architecture' in ${file} is invalid: ${(cause as Error).message}.`,
      {
        cause,
      },
    )
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
