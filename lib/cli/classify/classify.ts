// `residual classify`: print the classes that images show.
import cliProgress from 'cli-progress'
import { type Classifier, defaultTopK, load } from '../../classifier.ts'
import { writeAtomically } from '../../files/atomic-file.ts'
import { overlay } from '../../image/cam.ts'
import { decode } from '../../image/decode.ts'
import { decoding } from '../../image/decoders.ts'
import type { ImageResult } from '../../pipeline.ts'
import type { DeviceChoice } from '../../runtime/device.ts'
import type { Precision } from '../../runtime/session-options.ts'
import { type ModelArguments, modelOptionsOf } from '../options/model-options.ts'
import { warn } from '../terminal/print.ts'
import { untilStopped } from '../terminal/signals.ts'
import { camFiles } from './cam-files.ts'
import { findInputs } from './inputs.ts'
import { amount, jsonReport, tableReport } from './report.ts'

export interface ClassifyArguments extends ModelArguments {
  readonly model: string
  readonly topK?: number
  readonly threshold?: number
  readonly device: DeviceChoice
  readonly threads?: number
  readonly exact?: boolean
  readonly precision?: Precision
  readonly deviceIndex: number
  readonly batch: number
  readonly json?: boolean
  readonly cam?: string
}

type Result = ImageResult<'probabilities' | 'featureMaps'>

const manyImages = 16 // from this many on, a terminal gets a progress bar

/**
 * Prints a line per image as its batch finishes, errors on standard error. Resolves to 1 if there were errors, else 0. If
 * stopped by a signal, it prints what was done so far and resolves to the shell's exit code for the signal.
 */
export async function classify(paths: readonly string[], options: ClassifyArguments): Promise<number> {
  const { inputs, failures } = await findInputs(paths)
  const { model, threshold, device, threads, exact = false, precision, deviceIndex, batch } = options
  const camFile = options.cam === undefined ? undefined : await camFiles(options.cam, inputs)
  const isLong = process.stderr.isTTY === true && inputs.length >= manyImages
  const bar = isLong ? progressBar() : undefined
  return untilStopped(async stop => {
    await using classifier = await load(model, {
      device,
      exact,
      deviceIndex,
      maxBatch: batch,
      signal: stop.signal,
      activationMaps: camFile !== undefined,
      ...(threads ? { threads } : {}),
      ...(precision && { precision }),
      ...modelOptionsOf(options),
    })
    const { activation, labels, labelsFrom, session } = classifier
    if (session.device.kind === 'cpu' && session.device.precisionReason !== undefined)
      warn(`residual: computing in fp32. ${session.device.precisionReason}`)
    if (labelsFrom === 'imagenet')
      warn(
        'residual: using ImageNet-1k labels: the model has 1000 classes and no labels of its own; --labels FILE sets others',
      )
    const { topK = threshold === undefined ? defaultTopK : labels.length } = options
    const asked =
      threshold === undefined ? `top ${topK}` : `classes of at least ${amount(threshold, activation)}`
    const names = inputs.map(({ name }) => name)
    const report = options.json
      ? jsonReport(activation)
      : tableReport(names, asked, activation, /*held=*/ isLong && process.stdout.isTTY)
    for (const { path, error } of failures) report.failure(path, error)
    bar?.start(inputs.length, 0)
    stop.signal.addEventListener('abort', () => bar?.stop(), { once: true }) // it controls the cursor and line wrapping
    const sources = inputs.map(({ source }) => source)
    const outputs = camFile ? (['probabilities', 'featureMaps'] as const) : (['probabilities'] as const)
    const results = classifier.each(sources, { batch, outputs, signal: stop.signal })
    let index = 0
    try {
      for await (const result of results as AsyncGenerator<Result>) {
        const input = inputs[index++]!
        try {
          if ('error' in result) throw result.error
          const { probabilities } = result.outputs
          const predictions = classifier.top(probabilities, topK, threshold)
          const cam = camFile?.(input)
          // The map shows the most likely class, even if it is below the threshold.
          if (cam)
            await writeCam(cam, classifier, result, classifier.top(probabilities, 1)[0]!.index, stop.signal)
          report.success(input.name, predictions, result.ms, cam)
        } catch (error) {
          if (!(error instanceof Error) || stop.signal.aborted) throw error
          report.failure(input.name, error)
        }
        bar?.increment()
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error
    } finally {
      bar?.stop()
    }
    return report.end(stop.signal.aborted) ? 1 : 0
  })
}

function progressBar(): cliProgress.SingleBar {
  const format = '{bar} {value}/{total} images, {eta_formatted} left'
  return new cliProgress.SingleBar({ format, clearOnComplete: true }, cliProgress.Presets.shades_classic)
}

async function writeCam(
  path: string,
  classifier: Classifier,
  { image, view, outputs }: Extract<Result, { view: object }>,
  index: number,
  signal: AbortSignal,
): Promise<void> {
  const { map, ...size } = classifier.activationMap(outputs.featureMaps, index)
  const png = await decoding(async () => overlay(await decode(image), view, map, size), signal)
  await writeAtomically(path, handle => handle.writeFile(png))
}
