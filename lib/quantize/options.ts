// Options of quantizing a model: defaults and validation.
import { availableParallelism } from 'node:os'
import { checkNames, checkSignal, type Names } from '../base/options.ts'
import { checkInteger, outOfRange, wrongType } from '../errors.ts'
import { type ModelOptions, modelOptionNames } from '../open-model.ts'
import type { LabelledImage } from './images.ts'
import { type RangeChoice, rangeChoices } from './ranges.ts'
import type { QuantizeProgress } from './steps.ts'

export interface QuantizeOptions extends ModelOptions {
  /**
   * Images like those that the model will see, in any order: `samples` of them calibrate it, the others tell how well it does.
   * Their labels, if known, tell the accuracy.
   */
  readonly images: Iterable<string | Uint8Array | LabelledImage>
  /** How many images calibrate it, or half of all if there are too few. Default: 256. */
  readonly samples?: number
  /** The most images to compare it with float32 by. Default: 1000. */
  readonly mostCompared?: number
  /**
   * The share of the compared images that shall keep their class. While it is not reached, operations are kept in bf16, those
   * that hurt most first. Unless it is given, it is 0.99, and only operations that are worth their time are kept.
   */
  readonly agreement?: number
  /** How the ranges of values are chosen. Default: `auto`. */
  readonly method?: RangeChoice
  /** Number of threads; as many as the process may use unless given. */
  readonly threads?: number
  /** Called as the work goes on. */
  readonly onProgress?: (progress: QuantizeProgress) => void
}

const quantizeNames = {
  ...modelOptionNames,
  images: true,
  samples: true,
  mostCompared: true,
  agreement: true,
  method: true,
  threads: true,
  onProgress: true,
} as const satisfies Names<QuantizeOptions>

export const defaultSamples = 256
export const defaultMostCompared = 1000
export const defaultAgreement = 0.99
export const defaultMethod: RangeChoice = 'auto'

export interface CheckedQuantizeOptions {
  readonly samples: number
  readonly mostCompared: number
  readonly agreement: number
  /** Whether the caller asked for that agreement, so that all that it takes is kept. */
  readonly isPromised: boolean
  readonly method: RangeChoice
  readonly threads: number
  readonly onProgress: (progress: QuantizeProgress) => void
  readonly signal: AbortSignal | undefined
}

/** @throws TypeError, RangeError for options that do not exist */
export function checkQuantizeOptions(options: QuantizeOptions): CheckedQuantizeOptions {
  checkNames(options, quantizeNames)
  const {
    samples = defaultSamples,
    mostCompared = defaultMostCompared,
    agreement = defaultAgreement,
    method = defaultMethod,
    threads = availableParallelism(),
    onProgress = () => {},
  } = options
  checkInteger('samples', samples, 1)
  checkInteger('mostCompared', mostCompared, 1)
  checkInteger('threads', threads, 1, 1024)
  if (typeof agreement !== 'number') throw wrongType('a number from 0 to 1', 'agreement', agreement)
  if (!(agreement >= 0 && agreement <= 1)) throw outOfRange('a number from 0 to 1', 'agreement', agreement)
  if (!rangeChoices.includes(method)) throw outOfRange(`one of ${rangeChoices.join(', ')}`, 'method', method)
  if (typeof onProgress !== 'function') throw wrongType('a function', 'onProgress', onProgress)
  const signal = checkSignal(options.signal)
  const isPromised = options.agreement !== undefined
  return { samples, mostCompared, agreement, isPromised, method, threads, onProgress, signal }
}
