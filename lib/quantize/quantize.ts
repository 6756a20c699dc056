// Quantizing a model, the whole way: calibrate it in float32, round it to 8 bits, keep what hurts, compare, save.
import { stat } from 'node:fs/promises'
import { pick } from '../base/options.ts'
import { outOfRange, ResidualError, wrongType } from '../errors.ts'
import { checkWritable } from '../files/atomic-file.ts'
import type { Quantization } from '../model/quantization.ts'
import { lowerModel, modelOptionNames, type OpenModel, openModel } from '../open-model.ts'
import { reducedKernels } from '../runtime/native.ts'
import { agreementOf, classResults, closeError } from './agreement.ts'
import { type Calibrated, calibrate, openInt8, quantizationOf, type Workbench } from './calibrate.ts'
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
import type { ClassReport, QuantizeReport } from './report.ts'
import { saveTried } from './save-tried.ts'
import { speedOf } from './speed.ts'
import { Steps } from './steps.ts'
import { Trial } from './trial.ts'

/** Images that tell which operations hurt. */
const mostTried = 256
/** Images that tell the noise of each operation. */
const mostMeasured = 4
/** Of decoded images that are kept in memory. */
const mostImageBytes = 256 * 2 ** 20
const timedBatches = [1, 8]
/** Unless the caller asked for an agreement, an operation is kept if it saves twice its share of what it costs. */
const leastWorth = 2

/**
 * Quantizes a model to 8-bit integers for the CPU and writes it to `out`, which must end in `.safetensors`, with its record
 * beside it. Existing files are replaced. Computing is off the event loop or pauses for others.
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

class Quantizing {
  readonly #bench: Workbench

  constructor(
    private readonly model: OpenModel,
    private readonly out: string,
    private readonly options: CheckedQuantizeOptions,
  ) {
    const { threads, onProgress, signal } = options
    const steps = new Steps(onProgress, signal)
    this.#bench = { plan: lowerModel(model), threads, bf16: reducedKernels().bf16 !== null, steps }
  }

  async run(given: readonly LabelledImage[]): Promise<QuantizeReport> {
    const images = await this.#prepare(given)
    const pixels = pixelsOf(images.calibrating)
    const calibrated = await calibrate(this.#bench, this.model.weights, pixels, this.options.method)
    const reference = await Trial.open(this.#bench.plan, calibrated.weights, this.options.threads)
    try {
      return await this.#quantize(reference, calibrated, images)
    } finally {
      reference.dispose()
    }
  }

  async #prepare(given: readonly LabelledImage[]): Promise<Images> {
    const { samples, mostCompared, signal } = this.options
    const most = Math.min(given.length, samples + mostCompared)
    this.#bench.steps.begin('decoding images', most)
    const { images, unreadable } = await prepareImages(given, {
      most,
      mostBytes: mostImageBytes,
      preprocessing: this.model.preprocessing,
      onImage: this.#bench.steps.advance,
      signal,
    })
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

  async #quantize(reference: Trial, calibrated: Calibrated, images: Images): Promise<QuantizeReport> {
    const { weights, values } = calibrated
    this.#bench.steps.begin('comparing', images.comparing.length)
    const before = await reference.logits(pixelsOf(images.comparing), this.#bench.steps.advance)
    const choice = await this.#choose(calibrated, images, before)
    const quantization = quantizationOf(values, namesOf(choice))
    const tried = await openInt8(this.#bench, weights, quantization)
    try {
      const after = await tried.logits(pixelsOf(images.comparing))
      const measured = images.comparing.slice(0, mostMeasured)
      this.#bench.steps.begin('measuring the noise', measured.length)
      const noise = await noiseOf(
        this.#bench.plan,
        reference,
        tried,
        pixelsOf(measured),
        this.#bench.steps.advance,
      )
      this.#bench.steps.begin('measuring the speed', timedBatches.length)
      const timed = pixelsOf(images.comparing.slice(0, Math.max(...timedBatches)))
      const speed = await speedOf(
        this.#bench.plan,
        reference,
        tried,
        timed,
        timedBatches,
        this.#bench.steps.advance,
      )
      await this.#save(calibrated, quantization, images, choice)
      return {
        ...this.#described(calibrated, images, choice),
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

  /** What to keep in bf16. `before`: the logits of the images compared, in float32. */
  async #choose(
    { weights, values, logits: ofCalibrating }: Calibrated,
    { calibrating, comparing }: Images,
    before: readonly Float32Array[],
  ): Promise<KeptChoice> {
    const logits = async (kept: readonly string[], images: readonly PreparedImage[]) => {
      const trial = await openInt8(this.#bench, weights, quantizationOf(values, kept))
      try {
        return await trial.logits(pixelsOf(images), () => this.options.signal?.throwIfAborted())
      } finally {
        trial.dispose()
      }
    }
    const some = calibrating.slice(0, mostTried)
    const trials = {
      error: async (kept: readonly string[]) =>
        closeError(ofCalibrating.slice(0, some.length), await logits(kept, some)),
      agreement: async (kept: readonly string[]) => agreementOf(before, await logits(kept, comparing)),
    }
    const { agreement, isPromised } = this.options
    const options = { agreement, worth: isPromised ? null : leastWorth }
    return chooseKept(this.#bench.plan, options, trials, (done, total) =>
      done === 1 ? this.#bench.steps.begin('finding what hurts', total) : this.#bench.steps.advance(),
    )
  }

  async #save(
    { weights, method, isEqualised }: Calibrated,
    quantization: Quantization,
    { calibrating }: Images,
    { agreement }: KeptChoice,
  ): Promise<void> {
    this.#bench.steps.begin('writing', 1)
    const described = {
      ranges: method,
      channels: isEqualised ? 'equalised' : 'as they were',
      samples: calibrating.length,
      agreement,
    }
    const { signal } = this.options
    await saveTried(
      this.out,
      this.model,
      { plan: this.#bench.plan, weights, quantization, described },
      signal,
    )
  }

  #described(
    { method, isEqualised }: Calibrated,
    { calibrating, comparing, unreadable }: Images,
    choice: KeptChoice,
  ) {
    const { samples, threads, agreement: wanted, isPromised } = this.options
    return {
      model: this.model.checkpoint.path,
      out: this.out,
      method,
      isEqualised,
      threads,
      images: { asked: samples, calibrated: calibrating.length, compared: comparing.length, unreadable },
      agreement: { share: choice.agreement, wanted, isPromised },
      kept: choice.kept,
    }
  }
}

const pixelsOf = (images: readonly PreparedImage[]) => images.map(({ pixels }) => pixels)
const namesOf = ({ kept }: KeptChoice) => kept.map(({ name }) => name)

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
