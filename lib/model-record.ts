// What goes with a checkpoint? Its architecture, labels and preprocessing: a JSON file of the same name beside it.
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { ResidualError } from './errors.ts'
import { imagenet, type Preprocessing, parsePreprocessing } from './image/preprocess.ts'
import { type ResNetOptions, resnet } from './model/resnet.ts'
import { cachedModel } from './registry/cache.ts'
import { pullHint } from './registry/source.ts'
import { packageRoot } from './runtime/native.ts'

/** The contents of the JSON file; every part may be left out. */
export interface ModelRecord {
  /** Options of {@link resnet}; inferred from the tensors where absent. */
  readonly architecture?: ResNetOptions
  /** One per class, in order; `class 0`, `class 1`, ... where absent. */
  readonly labels?: readonly string[]
  readonly preprocessing: Preprocessing
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

/**
 * The checkpoint meant by `model`: a path ending in `.safetensors`, or the name of a bundled model or of one that was pulled.
 *
 * @throws ResidualError MODEL_NOT_FOUND
 */
export function findModel(model: string): ModelFile {
  if (model.endsWith(extension)) return { name: basename(model, extension), path: model }
  const bundled = bundledModels()
  const found = bundled.find(({ name }) => name === model) ?? cachedModel(model)
  if (found) return found
  throw new ResidualError(
    'MODEL_NOT_FOUND',
    `There is no bundled model '${model}' (there are: ${bundled.map(({ name }) => name).join(', ')}), ` +
      `and none of that name was pulled.${pullHint(model)} ` +
      `For a checkpoint of your own give the path of its ${extension} file.`,
  )
}

/**
 * The record beside a checkpoint. Without such a file the preprocessing is ImageNet's, and the rest is left out.
 *
 * @throws ResidualError MODEL_INVALID
 */
export async function readModelRecord({ path }: ModelFile): Promise<ModelRecord> {
  const file = `${path.slice(0, -extension.length)}.json`
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { preprocessing: imagenet }
    throw new ResidualError('MODEL_INVALID', `${file} cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  }
  return parseModelRecord(text, file)
}

function parseModelRecord(text: string, file: string): ModelRecord {
  let record: unknown
  try {
    record = JSON.parse(text)
  } catch (cause) {
    throw new ResidualError('MODEL_INVALID', `${file} is not JSON: ${(cause as Error).message}.`, { cause })
  }
  if (!isObject(record)) throw new ResidualError('MODEL_INVALID', `${file} does not hold an object.`)
  const { architecture, labels, preprocessing } = record
  if (architecture !== undefined && !isObject(architecture)) {
    throw new ResidualError('MODEL_INVALID', `'architecture' in ${file} is not an object.`)
  }
  if (labels !== undefined && !(Array.isArray(labels) && labels.every(label => typeof label === 'string'))) {
    throw new ResidualError('MODEL_INVALID', `'labels' in ${file} is not an array of strings.`)
  }
  if (architecture) checkArchitecture(architecture as unknown as ResNetOptions, file)
  return {
    ...(architecture ? { architecture: architecture as unknown as ResNetOptions } : {}),
    ...(labels ? { labels: labels as string[] } : {}),
    preprocessing: preprocessing === undefined ? imagenet : parsePreprocessing(preprocessing, file),
  }
}

function checkArchitecture(architecture: ResNetOptions, file: string): void {
  try {
    resnet(architecture)
  } catch (cause) {
    throw new ResidualError(
      'MODEL_INVALID',
      `'architecture' in ${file} is none: ${(cause as Error).message}.`,
      {
        cause,
      },
    )
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
