// How does a picture become labels? The whole data flow on one page: load, classify, close.
import { checkInteger, ResidualError, wrongType } from './errors.ts'
import { greatest } from './greatest.ts'
import { activationMap } from './image/cam.ts'
import { type DecodeOptions, decode } from './image/decode.ts'
import {
  inputSize,
  type Prepared,
  type Preprocessing,
  parsePreprocessing,
  preprocess,
} from './image/preprocess.ts'
import { lower } from './model/lower.ts'
import { parametersOf } from './model/parameters.ts'
import type { OutputName } from './model/plan.ts'
import { resnet } from './model/resnet.ts'
import { findModel, readModelRecord } from './model-record.ts'
import { eachPicture, type PictureResult, row } from './pipeline.ts'
import { createSession, type Outputs, type RunOptions, type Session } from './runtime/session.ts'
import type { SessionOptions } from './runtime/session-options.ts'
import { inferResNet } from './weights/names/torchvision.ts'
import { openSafetensors } from './weights/safetensors.ts'
import { checkParameters, fromSafetensors } from './weights/source.ts'

export interface LoadOptions extends SessionOptions {
  /** In place of those that go with the checkpoint. */
  readonly labels?: readonly string[]
  readonly preprocessing?: Preprocessing
}

/** One class a picture may show. */
export interface Prediction {
  readonly index: number
  readonly label: string
  readonly probability: number
}

export interface ClassifyOptions {
  /** How many of the likeliest classes to return. */
  readonly topK?: number
  /** Pictures that run through the network together. */
  readonly batch?: number
}

export const defaultTopK = 5
export const defaultBatch = 8

/**
 * Loads a checkpoint and makes it ready to run.
 *
 * @param model the name of a bundled model, or the path of a `.safetensors` file
 * @throws ResidualError MODEL_NOT_FOUND, FILE_NOT_FOUND, MODEL_INVALID, CHECKPOINT_INVALID, CHECKPOINT_MISMATCH,
 *   NON_FINITE, or what {@link createSession} throws
 */
export async function load(model: string, options: LoadOptions = {}): Promise<Classifier> {
  if (typeof model !== 'string') throw wrongType('a name or a path', 'model', model)
  const file = findModel(model)
  const tensors = await openSafetensors(file.path)
  try {
    const record = await readModelRecord(file)
    const source = fromSafetensors(tensors)
    const network = resnet(record.architecture ?? inferResNet(source))
    checkParameters(parametersOf(network), source)
    const preprocessing = options.preprocessing
      ? parsePreprocessing(options.preprocessing, 'the options')
      : record.preprocessing
    const { mean, std } = preprocessing
    const plan = lower(network, { ...inputSize(preprocessing), mean, std })
    const classes = plan.values[plan.outputs.logits]!.channels
    const labels = options.labels ?? record.labels ?? Array.from({ length: classes }, (_, i) => `class ${i}`)
    if (labels.length !== classes) {
      throw new ResidualError(
        'MODEL_INVALID',
        `There are ${labels.length} labels for the ${classes} classes of ${model}.`,
      )
    }
    const [session, classifierWeight] = await Promise.allSettled([
      createSession(plan, source, options),
      source.read('fc.weight'), // for activation maps
    ])
    if (session.status === 'rejected') throw session.reason
    if (classifierWeight.status === 'rejected') {
      await session.value.dispose()
      throw classifierWeight.reason
    }
    return new Classifier(file.name, session.value, preprocessing, labels, classifierWeight.value)
  } finally {
    await tensors.close()
  }
}

/** A network with its weights, labels and preprocessing. Made by {@link load}; open until {@link close}. */
export class Classifier {
  readonly #classifierWeight: Float32Array // [classes,C]

  constructor(
    readonly name: string,
    readonly session: Session,
    readonly preprocessing: Preprocessing,
    readonly labels: readonly string[],
    classifierWeight: Float32Array,
  ) {
    this.#classifierWeight = classifierWeight
  }

  /**
   * The likeliest classes of each picture, likeliest first. Pictures are paths or the bytes of encoded files; while one
   * batch runs the next is decoded, and no more than two are in memory.
   *
   * @throws ResidualError FILE_NOT_FOUND, DECODE_FAILED, PICTURE_TOO_LARGE for the first picture that cannot be had
   */
  async classify(
    pictures: readonly (string | Uint8Array)[],
    options: ClassifyOptions = {},
  ): Promise<Prediction[][]> {
    const { topK = defaultTopK, batch = defaultBatch } = options
    if (!Array.isArray(pictures))
      throw wrongType('an array of paths or encoded pictures', 'pictures', pictures)
    checkInteger('topK', topK, 1)
    const results: Prediction[][] = []
    for await (const result of this.each(pictures, { batch, outputs: ['probabilities'] })) {
      if ('error' in result) throw result.error
      results.push(this.top(result.outputs.probabilities, topK))
    }
    return results
  }

  /**
   * Runs the network on many pictures and yields what came of each, in order. A picture that cannot be had yields its
   * error, and the rest goes on. While one batch runs the next is decoded; no more than two are in memory.
   */
  each<Name extends OutputName>(
    pictures: readonly (string | Uint8Array)[],
    options: { readonly batch?: number; readonly outputs: readonly Name[] },
  ): AsyncGenerator<PictureResult<Name>> {
    return eachPicture(this, pictures, { batch: defaultBatch, ...options })
  }

  /**
   * Runs the network on pictures that are preprocessed already: bytes `[N,H,W,3]`, or floats of that shape, normalised.
   * See {@link Session.run}.
   */
  run<Name extends OutputName = 'logits' | 'features'>(
    pixels: Uint8Array | Float32Array,
    options: RunOptions<Name> = {},
  ): Promise<Outputs<Name>> {
    return this.session.run(pixels, options)
  }

  /** Decodes a picture and brings it to the size the network takes. */
  async prepare(picture: string | Uint8Array, options: DecodeOptions = {}): Promise<Prepared> {
    return preprocess(await decode(picture, options), this.preprocessing)
  }

  /** The `count` likeliest classes, likeliest first, of one picture's probabilities, `[classes]`. */
  top(probabilities: Float32Array, count: number = defaultTopK): Prediction[] {
    return greatest(probabilities, count).map(index => ({
      index,
      label: this.labels[index]!,
      probability: probabilities[index]!,
    }))
  }

  /** The class activation map `[H,W]` of class `index`, from one picture's feature maps `[H,W,C]`. */
  activationMap(
    featureMaps: Float32Array,
    index: number,
  ): { map: Float32Array; height: number; width: number } {
    const { plan } = this.session
    const shape = plan.values[plan.outputs.featureMaps!]!
    checkInteger('index', index, 0, this.labels.length - 1)
    return {
      ...shape,
      map: activationMap(featureMaps, shape, row(this.#classifierWeight, index, this.labels.length)),
    }
  }

  /** Waits for what is running, then frees all memory. */
  close(): Promise<void> {
    return this.session.dispose()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
