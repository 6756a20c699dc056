// How does a picture become labels? The whole data flow on one page: load, classify, close.
import { checkInteger, wrongType } from './errors.ts'
import { greatest } from './greatest.ts'
import { activationMap } from './image/cam.ts'
import { type DecodeOptions, decode } from './image/decode.ts'
import { type Prepared, type Preprocessing, preprocess } from './image/preprocess.ts'
import type { Activation } from './model/activation.ts'
import { activationOf, type OutputName } from './model/plan.ts'
import { lowerModel, type ModelOptions, type OpenModel, openModel } from './open-model.ts'
import { eachPicture, type PictureResult, row } from './pipeline.ts'
import { createSession, type Outputs, type RunOptions, type Session } from './runtime/session.ts'
import type { SessionOptions } from './runtime/session-options.ts'

export type { ModelOptions } from './open-model.ts'

export type LoadOptions = SessionOptions & ModelOptions

/** One class a picture may show. */
export interface Prediction {
  readonly index: number
  readonly label: string
  /** What the model's activation makes of the logit: with `none` the logit itself. */
  readonly probability: number
}

export interface ClassifyOptions {
  /** How many of the likeliest classes to return; 5 unless given, and all with a `threshold`. */
  readonly topK?: number
  /** Only classes with at least this probability; there may be none. */
  readonly threshold?: number
  /** Pictures that run through the network together. */
  readonly batch?: number
}

export const defaultTopK = 5
export const defaultBatch = 8

/**
 * Loads a checkpoint and makes it ready to run.
 *
 * @param model as of {@link openModel}
 * @throws ResidualError NON_FINITE, or what {@link openModel} and {@link createSession} throw
 */
export async function load(model: string, options: LoadOptions = {}): Promise<Classifier> {
  if (typeof model !== 'string') throw wrongType('a name or a path', 'model', model)
  const opened = await openModel(model, options)
  try {
    const { name, weights, preprocessing, labels, labelsFrom } = opened
    const plan = lowerModel(opened)
    const [session, classifierWeight] = await Promise.allSettled([
      createSession(plan, weights, options),
      weights.read('fc.weight'), // for activation maps
    ])
    if (session.status === 'rejected') throw session.reason
    if (classifierWeight.status === 'rejected') {
      await session.value.dispose()
      throw classifierWeight.reason
    }
    return new Classifier(name, session.value, preprocessing, labels, classifierWeight.value, labelsFrom)
  } finally {
    await opened.close()
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
    /** Whose the labels are: see {@link OpenModel}. */
    readonly labelsFrom: OpenModel['labelsFrom'] = 'given',
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
    const {
      threshold,
      topK = threshold === undefined ? defaultTopK : this.labels.length,
      batch = defaultBatch,
    } = options
    if (!Array.isArray(pictures))
      throw wrongType('an array of paths or encoded pictures', 'pictures', pictures)
    checkInteger('topK', topK, 1)
    const results: Prediction[][] = []
    for await (const result of this.each(pictures, { batch, outputs: ['probabilities'] })) {
      if ('error' in result) throw result.error
      results.push(this.top(result.outputs.probabilities, topK, threshold))
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

  /** What makes probabilities of the logits. */
  get activation(): Activation {
    return activationOf(this.session.plan)
  }

  /**
   * The `count` likeliest classes, likeliest first, of one picture's probabilities, `[classes]`; with a `threshold` only those that
   * reach it.
   */
  top(
    probabilities: Float32Array,
    count: number = defaultTopK,
    threshold = Number.NEGATIVE_INFINITY,
  ): Prediction[] {
    if (typeof threshold !== 'number' || Number.isNaN(threshold))
      throw wrongType('a number', 'threshold', threshold)
    return greatest(probabilities, count)
      .map(index => ({ index, label: this.labels[index]!, probability: probabilities[index]! }))
      .filter(({ probability }) => probability >= threshold)
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
