// The whole data flow from an image to labels on one page: load, classify, close.
import { isFloat32Array } from 'node:util/types'
import { checkNames, checkSignal, type Names, pick } from './base/options.ts'
import { topIndices } from './base/top-k.ts'
import { checkInteger, outOfRange, wrongType } from './errors.ts'
import { activationMap } from './image/cam.ts'
import { type DecodeOptions, decode } from './image/decode.ts'
import { decoding } from './image/decoders.ts'
import { type Prepared, type Preprocessing, preprocess } from './image/preprocess.ts'
import type { Activation } from './model/activation.ts'
import { activationOf, elements, type OutputName } from './model/plan.ts'
import { lowerModel, type ModelOptions, modelOptionNames, type OpenModel, openModel } from './open-model.ts'
import { checkImages, eachImage, type ImageResult, type Images, row } from './pipeline.ts'
import {
  checkOutputs,
  createSession,
  type Outputs,
  type RunOptions,
  type Session,
} from './runtime/session.ts'
import { type SessionOptions, sessionOptionNames } from './runtime/session-options.ts'

export type { ModelOptions } from './open-model.ts'

export interface MapOptions {
  /** Whether to keep the weights that {@link Classifier.activationMap} takes, 8 MB of a ResNet-50 with 1,000 classes. Default: true. */
  readonly activationMaps?: boolean
}

export type LoadOptions = SessionOptions & ModelOptions & MapOptions

/** One class an image may show. */
export interface Prediction {
  readonly index: number
  readonly label: string
  /** The activation of the logit: with `none`, the logit itself. */
  readonly probability: number
}

export interface ClassifyOptions {
  /** How many of the most likely classes to return: 5 by default, or all of them with a `threshold`. */
  readonly topK?: number
  /** Only classes with at least this probability; there may be none. */
  readonly threshold?: number
  /** Images per batch. */
  readonly batch?: number
  /** Cancels it; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

const classifyNames = {
  topK: true,
  threshold: true,
  batch: true,
  signal: true,
} as const satisfies Names<ClassifyOptions>

export interface EachOptions<Name extends OutputName> {
  /** The outputs to return, as for {@link Session.run}. */
  readonly outputs: readonly Name[]
  /** Images per batch. */
  readonly batch?: number
  /** Cancels it; the generator throws the signal's reason. */
  readonly signal?: AbortSignal
}

const eachNames = { outputs: true, batch: true, signal: true } as const satisfies Names<
  EachOptions<OutputName>
>
const prepareNames = { maxPixels: true, signal: true } as const satisfies Names<DecodeOptions>
const mapNames = { activationMaps: true } as const satisfies Names<MapOptions>
const loadNames = { ...sessionOptionNames, ...modelOptionNames, ...mapNames }

export const defaultTopK = 5
export const defaultBatch = 8

/**
 * Loads a checkpoint and makes it ready to run.
 *
 * @param model as for {@link openModel}
 * @throws ResidualError NON_FINITE, or what {@link openModel} and {@link createSession} throw; the signal's reason
 * @throws TypeError, RangeError for options that do not exist
 */
export async function load(model: string, options: LoadOptions = {}): Promise<Classifier> {
  checkNames(options, loadNames)
  const { activationMaps = true } = options
  if (typeof activationMaps !== 'boolean') throw wrongType('a boolean', 'activationMaps', activationMaps)
  const opened = await openModel(model, pick(options, modelOptionNames))
  try {
    const { name, weights, preprocessing, labels, labelsFrom } = opened
    const plan = lowerModel(opened)
    const [session, classifierWeight] = await Promise.allSettled([
      createSession(plan, weights, pick(options, sessionOptionNames)),
      activationMaps ? weights.read('fc.weight') : undefined,
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
  readonly #classifierWeight: Float32Array | undefined // [classes,C]

  constructor(
    readonly name: string,
    readonly session: Session,
    readonly preprocessing: Preprocessing,
    readonly labels: readonly string[],
    classifierWeight: Float32Array | undefined,
    /** Where the labels come from: see {@link OpenModel}. */
    readonly labelsFrom: OpenModel['labelsFrom'] = 'given',
  ) {
    this.#classifierWeight = classifierWeight
  }

  /**
   * The most likely classes of each image, most likely first. Images are paths or the bytes of encoded files; the bytes must
   * not change until the promise settles. While one batch runs the next is decoded, so at most two are in memory.
   *
   * @throws ResidualError FILE_NOT_FOUND, DECODE_FAILED, PICTURE_TOO_LARGE for the first image that cannot be read or decoded;
   *   the signal's reason
   * @throws TypeError, RangeError for options that do not exist
   */
  async classify(images: Images, options: ClassifyOptions = {}): Promise<Prediction[][]> {
    checkImages(images)
    checkNames(options, classifyNames)
    const { threshold, topK = threshold === undefined ? defaultTopK : this.labels.length, ...rest } = options
    checkInteger('topK', topK, 1)
    const results: Prediction[][] = []
    for await (const result of this.each(images, { ...rest, outputs: ['probabilities'] })) {
      if ('error' in result) throw result.error
      results.push(this.top(result.outputs.probabilities, topK, threshold))
    }
    return results
  }

  /**
   * Runs the network on any number of images and yields a result for each, in order. An image that cannot be read or decoded
   * yields its error and the rest continue. While one batch runs the next is decoded, so at most two are in memory. Bytes must
   * not change until their image is yielded.
   *
   * @throws TypeError, RangeError at once if `images` is not a source of images, or for options or outputs that do not exist
   */
  each<Name extends OutputName>(
    images: Images,
    options: EachOptions<Name>,
  ): AsyncGenerator<ImageResult<Name>> {
    checkNames(options, eachNames)
    const { batch = defaultBatch } = options
    const outputs = checkOutputs(this.session.plan, options.outputs)
    checkInteger('batch', batch, 1)
    return eachImage(this, checkImages(images), { batch, outputs, signal: checkSignal(options.signal) })
  }

  /**
   * Runs the network on preprocessed images: bytes `[N,H,W,3]`, or normalised floats of that shape. See {@link Session.run}.
   */
  run<Name extends OutputName = 'logits' | 'features'>(
    pixels: Uint8Array | Float32Array,
    options: RunOptions<Name> = {},
  ): Promise<Outputs<Name>> {
    return this.session.run(pixels, options)
  }

  /**
   * Decodes and preprocesses an image, waiting first if the process is already decoding as many images as it may. Its bytes
   * must not change until the promise settles.
   *
   * @throws ResidualError FILE_NOT_FOUND, DECODE_FAILED, PICTURE_TOO_LARGE; the signal's reason
   * @throws TypeError, RangeError for options that do not exist
   */
  async prepare(image: string | Uint8Array, options: DecodeOptions = {}): Promise<Prepared> {
    checkNames(options, prepareNames)
    const signal = checkSignal(options.signal)
    return decoding(async () => preprocess(await decode(image, options), this.preprocessing), signal)
  }

  /** The activation that turns logits into probabilities. */
  get activation(): Activation {
    return activationOf(this.session.plan)
  }

  /**
   * The `count` most likely classes, most likely first, from one image's probabilities `[classes]`; with a `threshold`, only
   * those that reach it.
   *
   * @throws TypeError, RangeError for an array, count or threshold that is invalid
   */
  top(
    probabilities: Float32Array,
    count: number = defaultTopK,
    threshold = Number.NEGATIVE_INFINITY,
  ): Prediction[] {
    checkFloats('probabilities', probabilities, this.labels.length)
    checkInteger('count', count, 1)
    if (typeof threshold !== 'number' || Number.isNaN(threshold))
      throw wrongType('a number', 'threshold', threshold)
    return topIndices(probabilities, count)
      .map(index => ({ index, label: this.labels[index]!, probability: probabilities[index]! }))
      .filter(({ probability }) => probability >= threshold)
  }

  /**
   * The class activation map `[H,W]` of class `index`, from one image's feature maps `[H,W,C]`.
   *
   * @throws TypeError, RangeError for feature maps of another length, a class that does not exist, a network without feature maps,
   *   or a model loaded without `activationMaps`
   */
  activationMap(
    featureMaps: Float32Array,
    index: number,
  ): { map: Float32Array; height: number; width: number } {
    const { plan } = this.session
    checkOutputs(plan, ['featureMaps'])
    const shape = plan.values[plan.outputs.featureMaps!]!
    checkFloats('featureMaps', featureMaps, elements(shape))
    checkInteger('index', index, 0, this.labels.length - 1)
    const weights = this.#classifierWeight
    if (!weights) throw outOfRange('true', "load()'s option activationMaps", false)
    return { ...shape, map: activationMap(featureMaps, shape, row(weights, index, this.labels.length)) }
  }

  /** Waits for running work, then frees all memory. */
  close(): Promise<void> {
    return this.session.dispose()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function checkFloats(name: string, value: unknown, length: number): void {
  const what = `a Float32Array of ${length} elements`
  if (!isFloat32Array(value)) throw wrongType(what, name, value)
  if (value.length !== length) throw outOfRange(what, name, `${value.length} elements`)
}
