// Quantizing a model, the whole way: calibrate it in float32, round it to 8 bits, keep what hurts, compare, save.
import { stat } from 'node:fs/promises'
import { pick } from '../base/options.ts'
import { packageVersion } from '../base/package-version.ts'
import { outOfRange, ResidualError, wrongType } from '../errors.ts'
import { checkWritable } from '../files/atomic-file.ts'
import type { Plan } from '../model/plan.ts'
import type { Quantization } from '../model/quantization.ts'
import { reducedPlan } from '../model/reduce.ts'
import { lowerModel, modelOptionNames, type OpenModel, openModel } from '../open-model.ts'
import { type Observation, reducedKernels } from '../runtime/native.ts'
import { saveQuantisedModel } from '../save-model.ts'
import { takesWeights } from '../weights/op-weights.ts'
import type { QuantisedTensor } from '../weights/tensors/quantised-tensor.ts'
import { agreementOf, classResults, closeError } from './agreement.ts'
import { correctedBias } from './correct-bias.ts'
import { equalised } from './equalise.ts'
import { foldedSource } from './folded-source.ts'
import {
  checkLabelled,
  type LabelledImage,
  type PreparedImage,
  prepareImages,
  shuffled,
  splitOf,
  type UnreadableImage,
} from './images.ts'
import { chooseKept, type KeptChoice } from './keep-ops.ts'
import { noiseOf } from './noise.ts'
import { type CheckedQuantizeOptions, checkQuantizeOptions, type QuantizeOptions } from './options.ts'
import { quantizedValues, scalesOf } from './quantized-values.ts'
import { type RangeMethod, rangeMethods } from './ranges.ts'
import type { ClassReport, QuantizeReport } from './report.ts'
import { roundWeights, roundWithBias } from './round-weights.ts'
import { speedOf } from './speed.ts'
import { Steps } from './steps.ts'
import { type AllWeights, type FoldedWeights, foldedWeights, Trial, type TriedWeights } from './trial.ts'

/** Images that tell which operations hurt, and on which scales channels are. */
const mostTried = 64
/** Images that tell the noise of each operation. */
const mostMeasured = 4
const timedBatches = [1, 8]
/** Unless the caller asked for an agreement, an operation is kept if it saves twice its share of what it costs. */
const leastWorth = 2

/**
 * Quantizes a model to 8-bit integers for the CPU and writes it to `out`, which must end in `.safetensors`, with its record
 * beside it. Existing files are replaced. Computing is off the event loop.
 *
 * @param model as for {@link openModel}
 * @throws ResidualError MODEL_INVALID for a model that is quantized already, DECODE_FAILED if too few images can be read,
 *   NON_FINITE, OUT_OF_MEMORY, FILE_WRITE_FAILED, or what {@link openModel} throws; the signal's reason
 * @throws TypeError, RangeError for options that do not exist, fewer than two images, or another extension
 */
export async function quantize(
  model: string,
  out: string,
  options: QuantizeOptions,
): Promise<QuantizeReport> {
  const checked = checkQuantizeOptions(options)
  if (typeof out !== 'string') throw wrongType('a path', 'out', out)
  if (!out.endsWith('.safetensors')) throw outOfRange("a name that ends in '.safetensors'", 'out', out)
  await using opened = await openModel(model, pick(options, modelOptionNames))
  if (opened.weights.quantization)
    throw new ResidualError(
      'MODEL_INVALID',
      `${opened.checkpoint.path} is quantized already. Quantize the model that it was made from.`,
    )
  const given = shuffled(checkLabelled(options.images, opened.labels.length))
  await checkWritable(out)
  return await new Quantizing(opened, out, checked).run(given) // the model stays open until then
}

/** Images for each purpose. */
interface Images {
  readonly calibrating: readonly PreparedImage[]
  readonly comparing: readonly PreparedImage[]
  readonly unreadable: readonly UnreadableImage[]
}

/** What does not depend on the ranges. */
interface Rounded {
  readonly equal: ReadonlyMap<string, FoldedWeights>
  /** By operation of the plan. */
  readonly seen: readonly Observation[]
  readonly weights: ReadonlyMap<string, QuantisedTensor>
}

/** What a method of choosing ranges comes to. */
interface RangeTrial {
  readonly method: RangeMethod
  readonly values: Quantization['values']
  readonly weights: AllWeights
  /** Of the logits of the images that calibrated it. */
  readonly error: number
}

class Quantizing {
  readonly #plan: Plan
  readonly #steps: Steps
  readonly #bf16 = reducedKernels().bf16 !== null

  constructor(
    private readonly model: OpenModel,
    private readonly out: string,
    private readonly options: CheckedQuantizeOptions,
  ) {
    this.#plan = lowerModel(model)
    this.#steps = new Steps(options.onProgress, options.signal)
  }

  async run(given: readonly LabelledImage[]): Promise<QuantizeReport> {
    const images = await this.#prepare(given)
    const equal = await this.#equalise(images.calibrating)
    const reference = await Trial.open(this.#plan, equal, this.options.threads)
    try {
      const rounded = this.#round(equal, await this.#observe(reference, images.calibrating))
      const choice = await this.#chooseRanges(reference, rounded, images.calibrating)
      return await this.#quantize(reference, choice, images)
    } finally {
      reference.dispose()
    }
  }

  async #prepare(given: readonly LabelledImage[]): Promise<Images> {
    const { samples, mostCompared, signal } = this.options
    const most = Math.min(given.length, samples + mostCompared)
    this.#steps.begin('decoding images', most)
    const { images, unreadable } = await prepareImages(
      given,
      most,
      this.model.preprocessing,
      this.#steps.advance,
      signal,
    )
    const first = unreadable[0]
    if (images.length < 2 && first) {
      const problem = `Only ${images.length} of ${given.length} images can be read`
      throw new ResidualError('DECODE_FAILED', `${problem}. The first that cannot: ${first.error.message}`, {
        cause: first.error,
      })
    }
    const { calibrating, comparing } = splitOf(images.length, samples, mostCompared)
    return {
      calibrating: images.slice(0, calibrating),
      comparing: images.slice(calibrating, calibrating + comparing),
      unreadable,
    }
  }

  /** The folded weights, channels on similar scales. */
  async #equalise(images: readonly PreparedImage[]): Promise<Map<string, FoldedWeights>> {
    this.#steps.begin('reading weights', this.#plan.ops.filter(takesWeights).length)
    const folded = await foldedWeights(this.#plan, this.model.weights, this.#steps.advance)
    const trial = await Trial.open(this.#plan, folded, this.options.threads)
    try {
      return equalised(
        this.#plan,
        folded,
        await this.#observe(trial, images.slice(0, mostTried), 'equalising'),
      )
    } finally {
      trial.dispose()
    }
  }

  #observe(trial: Trial, images: readonly PreparedImage[], step = 'calibrating'): Promise<Observation[]> {
    this.#steps.begin(step, images.length)
    return trial.observe(pixelsOf(images), this.#steps.advance)
  }

  #round(equal: ReadonlyMap<string, FoldedWeights>, seen: readonly Observation[]): Rounded {
    const ops = this.#plan.ops.filter(takesWeights)
    this.#steps.begin('rounding weights', ops.length)
    const weights = new Map<string, QuantisedTensor>()
    for (const { name } of ops) {
      const { weight, bias } = equal.get(name)!
      weights.set(name, roundWeights(weight, bias.length))
      this.#steps.advance()
    }
    return { equal, seen, weights }
  }

  /** Everything but what is kept, by the method that was asked for or, if that is `auto`, by the best. */
  async #chooseRanges(
    reference: Trial,
    rounded: Rounded,
    calibrating: readonly PreparedImage[],
  ): Promise<RangeTrial> {
    const { method } = this.options
    const methods = method === 'auto' ? rangeMethods : [method]
    const images = pixelsOf(calibrating)
    if (methods.length > 1) this.#steps.begin('choosing ranges', images.length * (methods.length + 1))
    const advance = methods.length > 1 ? this.#steps.advance : () => {}
    const before = methods.length > 1 ? await reference.logits(images, advance) : []
    let best: RangeTrial | undefined
    for (const each of methods) {
      const candidate = { method: each, ...this.#withRanges(rounded, each), error: 0 }
      if (methods.length === 1) return candidate
      const trial = await this.#open(candidate.weights, quantizationOf(candidate.values, []))
      try {
        const error = closeError(before, await trial.logits(images, advance))
        if (!best || error < best.error) best = { ...candidate, error }
      } finally {
        trial.dispose()
      }
    }
    return best!
  }

  #withRanges({ equal, seen, weights: rounded }: Rounded, method: RangeMethod) {
    const seenOf = new Map(this.#plan.ops.map(({ dst }, i) => [dst, seen[i]!]))
    const values = quantizedValues(this.#plan, seen, method)
    const scales = scalesOf(this.#plan, values)
    const weights = new Map<string, TriedWeights>()
    for (const op of this.#plan.ops.filter(takesWeights)) {
      const { weight, bias } = equal.get(op.name)!
      const fitting = roundWithBias(weight, rounded.get(op.name)!, bias, scales[op.src]!)
      const roundedBias = correctedBias(op, { weight, bias }, fitting, seenOf.get(op.src)!)
      weights.set(op.name, { weight, bias, rounded: fitting, roundedBias })
    }
    return { values, weights }
  }

  async #quantize(reference: Trial, ranges: RangeTrial, images: Images): Promise<QuantizeReport> {
    const { weights, values } = ranges
    this.#steps.begin('comparing', images.comparing.length)
    const before = await reference.logits(pixelsOf(images.comparing), this.#steps.advance)
    const choice = await this.#choose(reference, weights, values, images, before)
    const quantization = quantizationOf(values, namesOf(choice))
    const tried = await this.#open(weights, quantization)
    try {
      const after = await tried.logits(pixelsOf(images.comparing))
      const measured = images.comparing.slice(0, mostMeasured)
      this.#steps.begin('measuring the noise', measured.length)
      const noise = await noiseOf(this.#plan, reference, tried, pixelsOf(measured), this.#steps.advance)
      this.#steps.begin('measuring the speed', timedBatches.length)
      const timed = pixelsOf(images.comparing.slice(0, Math.max(...timedBatches)))
      const speed = await speedOf(this.#plan, reference, tried, timed, timedBatches, this.#steps.advance)
      await this.#save(ranges, quantization, images, choice)
      return {
        ...this.#described(ranges.method, images, choice),
        ...answersOf(this.model, images.comparing, before, after),
        noise,
        speed,
        bytes: { before: (await stat(this.model.checkpoint.path)).size, after: (await stat(this.out)).size },
        isa: tried.isa,
      }
    } finally {
      tried.dispose()
    }
  }

  #open(weights: AllWeights, quantization: Quantization): Promise<Trial> {
    const plan = reducedPlan(this.#plan, { precision: 'int8', quantization, bf16: this.#bf16 })
    return Trial.open(plan, weights, this.options.threads)
  }

  /** What to keep in bf16. `before`: the logits of the images compared, in float32. */
  async #choose(
    reference: Trial,
    weights: AllWeights,
    values: Quantization['values'],
    { calibrating, comparing }: Images,
    before: readonly Float32Array[],
  ): Promise<KeptChoice> {
    const logits = async (kept: readonly string[], images: readonly PreparedImage[]) => {
      const trial = await this.#open(weights, quantizationOf(values, kept))
      try {
        return await trial.logits(pixelsOf(images), () => this.options.signal?.throwIfAborted())
      } finally {
        trial.dispose()
      }
    }
    const some = calibrating.slice(0, mostTried)
    let beforeOfSome: Promise<Float32Array[]> | undefined // rarely needed
    const trials = {
      error: async (kept: readonly string[]) => {
        beforeOfSome ??= reference.logits(pixelsOf(some))
        return closeError(await beforeOfSome, await logits(kept, some))
      },
      agreement: async (kept: readonly string[]) => agreementOf(before, await logits(kept, comparing)),
    }
    const { agreement, isPromised } = this.options
    const options = { agreement, worth: isPromised ? null : leastWorth }
    return chooseKept(this.#plan, options, trials, (done, total) =>
      done === 1 ? this.#steps.begin('finding what hurts', total) : this.#steps.advance(),
    )
  }

  async #save(
    { weights, method }: RangeTrial,
    quantization: Quantization,
    { calibrating }: Images,
    { agreement }: KeptChoice,
  ): Promise<void> {
    const { signal } = this.options
    const { architecture, weights: source, labels, activation, preprocessing } = this.model
    this.#steps.begin('writing', 1)
    const model = {
      ...{ labels, activation, preprocessing },
      architecture: { ...architecture, epsilon: 0 }, // the weights are folded
      weights: foldedSource(this.#plan, weights, source.description),
    }
    await saveQuantisedModel(this.out, model, {
      quantization,
      method: {
        ranges: method,
        channels: 'equalised',
        biases: 'corrected',
        samples: calibrating.length,
        agreement,
        residual: packageVersion(),
      },
      biases: this.#biases(weights, quantization),
      integersOf: (name, weight, channels) => {
        const rounded = weights.get(name)!.rounded!
        // A mean over each window was spread over the weights that were tried.
        return rounded.integers.length === weight.length ? rounded : roundWeights(weight, channels)
      },
      ...(signal && { signal }),
    })
  }

  /** By operation in int8, but for the one that reads the image's bytes: the corrected bias. */
  #biases(weights: AllWeights, { kept }: Quantization): Map<string, Float32Array> {
    const image = this.#plan.ops[0]!.dst
    const inInt8 = this.#plan.ops
      .filter(takesWeights)
      .filter(({ name, src }) => !(name in kept) && src !== image)
    return new Map(inInt8.map(({ name }) => [name, weights.get(name)!.roundedBias!]))
  }

  #described(method: RangeMethod, { calibrating, comparing, unreadable }: Images, choice: KeptChoice) {
    const { samples, threads, agreement: wanted, isPromised } = this.options
    return {
      model: this.model.checkpoint.path,
      out: this.out,
      method,
      threads,
      images: { asked: samples, calibrated: calibrating.length, compared: comparing.length, unreadable },
      agreement: { share: choice.agreement, wanted, isPromised },
      kept: choice.kept,
    }
  }
}

const pixelsOf = (images: readonly PreparedImage[]) => images.map(({ pixels }) => pixels)
const namesOf = ({ kept }: KeptChoice) => kept.map(({ name }) => name)

function quantizationOf(values: Quantization['values'], kept: readonly string[]): Quantization {
  return { values, kept: Object.fromEntries(kept.map(name => [name, 'bf16'])) }
}

/** The accuracy, if any image has a label: of all, and of each class. */
function answersOf(
  { labels }: OpenModel,
  images: readonly PreparedImage[],
  before: readonly Float32Array[],
  after: readonly Float32Array[],
): Pick<QuantizeReport, 'accuracy' | 'classes'> {
  const classes = classResults(
    images.map(({ label }) => label),
    before,
    after,
  ).map(its => ({ ...its, label: labels[its.index] ?? `class ${its.index}` }))
  const sum = (of: (its: ClassReport) => number) => classes.reduce((total, its) => total + of(its), 0)
  const accuracy = {
    images: sum(its => its.images),
    before: sum(its => its.rightBefore),
    after: sum(its => its.rightAfter),
  }
  return classes.length === 0 ? {} : { accuracy, classes }
}
