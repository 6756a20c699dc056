// `residual quantize`: make a model of 8-bit integers, and report how well it does.
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import cliProgress from 'cli-progress'
import { outOfRange, ResidualError } from '../errors.ts'
import { openModel } from '../open-model.ts'
import { type FolderLabels, labelsOfFolders } from '../quantize/folder-labels.ts'
import { quantize } from '../quantize/quantize.ts'
import type { RangeChoice } from '../quantize/ranges.ts'
import { reportText, unreadableLines } from '../quantize/report-text.ts'
import type { QuantizeProgress } from '../quantize/steps.ts'
import { checkReportPath, plainReport, writeReport } from '../quantize/write-report.ts'
import { recordPath } from '../weights/checkpoint/record-path.ts'
import { findInputs } from './classify/inputs.ts'
import { type ModelArguments, modelOptionsOf } from './options/model-options.ts'
import { errorLine } from './terminal/errors.ts'
import { say, sayAll, sayJson, warn } from './terminal/print.ts'
import { untilStopped } from './terminal/signals.ts'

export interface QuantizeArguments extends ModelArguments {
  /** A folder. */
  readonly images: string
  readonly samples: number
  readonly out: string
  readonly agreement?: number
  readonly method: RangeChoice
  readonly threads?: number
  readonly report?: string
  readonly json?: boolean
}

/** Resolves to 1 if the agreement that was asked for is not reached. */
export async function quantizeModel(model: string, options: QuantizeArguments): Promise<number> {
  const { out, samples, method, agreement, threads, json } = options
  const report = options.report ?? `${out.replace(/\.safetensors$/, '')}.report.html`
  const paths = await imagesIn(options.images)
  const labels = await labelsOf(model, options, paths)
  for (const line of labelLines(labels)) warn(line)
  await checkReportPath(report)
  if (resolve(report) === resolve(recordPath(out)))
    throw outOfRange(`another name than that of the model's record`, '--report', report)
  const show = process.stderr.isTTY ? progressBar() : progressLines()
  return untilStopped(async stop => {
    let isWritten = false
    try {
      const result = await quantize(model, out, {
        images: paths.map((image, i) => {
          const label = labels.labels[i]
          return label === undefined ? image : { image, label }
        }),
        samples,
        method,
        signal: stop.signal,
        onProgress: show.progress,
        ...(agreement !== undefined && { agreement }),
        ...(threads !== undefined && { threads }),
        ...modelOptionsOf(options),
      })
      isWritten = true
      show.end()
      for (const line of unreadableLines(result)) warn(`residual: ${line}`)
      const { calibrated, compared } = result.images
      if (calibrated < samples)
        warn(
          `residual: there are too few images for ${samples} samples: half of them, ${calibrated}, calibrated the model`,
        )
      if (compared < fewCompared)
        warn(`residual: ${compared} images are few to tell the agreement by; more make it surer`)
      await writeReport(report, result)
      if (json) sayJson(plainReport(result))
      else {
        sayAll(reportText(result))
        say(`Wrote ${out} and ${report}.`)
      }
      const { share, wanted, isPromised } = result.agreement
      if (!isPromised || share >= wanted) return 0
      warn(`residual: the agreement that was asked for is not reached, even with all of it in bf16`)
      return 1
    } finally {
      show.end()
      if (stop.signal.aborted && !isWritten) warn('residual: stopped; nothing was written')
    }
  })
}

const fewCompared = 100

/** The images below a folder, in order. */
async function imagesIn(folder: string): Promise<string[]> {
  const found = await stat(folder).catch(() => undefined)
  if (!found?.isDirectory()) {
    const problem = found ? 'is not a folder' : 'does not exist'
    throw new ResidualError('FILE_NOT_FOUND', `--images ${folder} ${problem}. Give a folder of images.`)
  }
  const { inputs, failures } = await findInputs([folder])
  for (const { path, error } of inputs.length > 0 ? failures : []) warn(errorLine(error, path))
  if (inputs.length === 0) throw failures[0]!.error
  return inputs.map(({ name }) => name)
}

async function labelsOf(
  model: string,
  options: QuantizeArguments,
  paths: readonly string[],
): Promise<FolderLabels> {
  await using opened = await openModel(model, modelOptionsOf(options))
  return labelsOfFolders(paths, options.images, opened.labels)
}

function labelLines({ by, unknown }: FolderLabels): string[] {
  if (by === 'nothing')
    return ["residual: the folders are not named by the model's classes, so there is no accuracy to report"]
  const order = 'residual: there are as many folders as classes: they are taken in the order of their names'
  const missing = unknown.slice(0, 5).join(', ') + (unknown.length > 5 ? ', ...' : '')
  return [
    ...(by === 'order' ? [order] : []),
    ...(unknown.length > 0 ? [`residual: no class has the name of these folders: ${missing}`] : []),
  ]
}

interface Show {
  readonly progress: (progress: QuantizeProgress) => void
  readonly end: () => void
}

function progressBar(): Show {
  const format = '{bar} {step}, {value}/{total}'
  const bar = new cliProgress.SingleBar({ format, clearOnComplete: true }, cliProgress.Presets.shades_classic)
  let shown: string | undefined
  return {
    progress({ step, done, total }) {
      if (step !== shown) {
        bar.stop()
        bar.start(total, done, { step })
      }
      shown = step
      bar.update(done)
    },
    end() {
      bar.stop()
    },
  }
}

/** For logs: a line per step. */
function progressLines(): Show {
  let shown: string | undefined
  return {
    progress({ step, total }) {
      if (step !== shown) warn(`residual: ${step} (${total})`)
      shown = step
    },
    end() {},
  }
}
