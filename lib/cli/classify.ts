// `residual classify`: which classes do these pictures show?
import { writeFile } from 'node:fs/promises'
import { basename, extname, join, parse } from 'node:path'
import cliProgress from 'cli-progress'
import { type Classifier, defaultTopK, load, type Prediction } from '../classifier.ts'
import { ResidualError } from '../errors.ts'
import { overlay } from '../image/cam.ts'
import { decode } from '../image/decode.ts'
import type { Activation } from '../model/activation.ts'
import type { PictureResult } from '../pipeline.ts'
import type { DeviceChoice } from '../runtime/device.ts'
import type { Precision } from '../runtime/session-options.ts'
import { findInputs, type Input } from './inputs.ts'
import { type ModelArguments, modelOptionsOf } from './model-options.ts'

export interface ClassifyArguments extends ModelArguments {
  readonly model: string
  readonly topK?: number
  readonly threshold?: number
  readonly device: DeviceChoice
  readonly threads?: number
  readonly exact?: boolean
  readonly precision: Precision
  readonly deviceIndex: number
  readonly batch: number
  readonly json?: boolean
  readonly cam?: string
}

type Result = PictureResult<'probabilities' | 'featureMaps'>

const manyPictures = 16 // from here on a terminal gets a progress bar

/** Prints a line per picture as its batch is done, errors on standard error. Resolves to 1 if there were any, else 0. */
export async function classify(paths: readonly string[], options: ClassifyArguments): Promise<number> {
  const { inputs, missing } = await findInputs(paths)
  const { model, threshold, device, threads, exact = false, precision, deviceIndex, batch } = options
  const classifier = await load(model, {
    device,
    exact,
    precision,
    deviceIndex,
    maxBatch: batch,
    ...(threads ? { threads } : {}),
    ...modelOptionsOf(options),
  })
  try {
    const { activation, labels, labelsFrom } = classifier
    if (labelsFrom === 'imagenet')
      console.error(
        'residual: the classes are called as in ImageNet-1k, for there are 1000 and nothing names them; --labels FILE does',
      )
    const { topK = threshold === undefined ? defaultTopK : labels.length } = options
    const shown = threshold === undefined ? `top ${topK}` : `classes from ${amount(threshold, activation)} on`
    const report = options.json ? jsonReport(activation) : tableReport(inputs, shown, activation)
    const bar = progressBar(inputs.length)
    const camNames = options.cam ? camPaths(options.cam, inputs) : undefined
    const outputs = camNames ? (['probabilities', 'featureMaps'] as const) : (['probabilities'] as const)

    for (const path of missing) {
      report.failure(path, new ResidualError('FILE_NOT_FOUND', `${path} leads to no pictures.`))
    }
    const sources = inputs.map(({ source }) => source)
    let index = 0
    for await (const result of classifier.each(sources, { batch, outputs }) as AsyncGenerator<Result>) {
      const { name } = inputs[index]!
      try {
        if ('error' in result) throw result.error
        const { probabilities } = result.outputs
        const predictions = classifier.top(probabilities, topK, threshold)
        const cam = camNames?.[index]
        if (cam) await writeCam(cam, classifier, result, classifier.top(probabilities, 1)[0]!.index)
        report.success(name, predictions, result.ms, cam)
      } catch (error) {
        if (!(error instanceof Error)) throw error
        report.failure(name, error)
      }
      index++
      bar?.increment()
    }
    bar?.stop()
    return report.end()
  } finally {
    await classifier.close()
  }
}

interface Report {
  success(name: string, predictions: readonly Prediction[], ms: number, cam: string | undefined): void
  failure(name: string, error: Error): void
  /** The exit code. */
  end(): number
}

/** A logit is no share of anything. */
const amount = (probability: number, activation: Activation) =>
  activation === 'none' ? probability.toPrecision(4) : `${(100 * probability).toFixed(1)} %`

function tableReport(inputs: readonly Input[], shown: string, activation: Activation): Report {
  // On a terminal that shows a progress bar, lines wait for its end.
  const held: string[] | undefined = progressWanted(inputs.length) && process.stdout.isTTY ? [] : undefined
  const print = (line: string) => (held ? held.push(line) : console.log(line))
  const nameWidth = Math.max(4, ...inputs.map(({ name }) => name.length))
  let successes = 0
  let failures = 0
  if (inputs.length > 0) print(`${'file'.padEnd(nameWidth)}        ms  ${shown}`)
  return {
    success(name, predictions, ms, cam) {
      successes++
      const classes = predictions.map(({ label, probability }) =>
        `${label} ${amount(probability, activation)}`.padEnd(20),
      )
      if (classes.length === 0) classes.push('none')
      print(`${name.padEnd(nameWidth)}  ${ms.toFixed(1).padStart(8)}  ${classes.join('  ')}`.trimEnd())
      if (cam) print(`${' '.repeat(nameWidth)}            map: ${cam}`)
    },
    failure(_, error) {
      failures++
      const line = errorLine(error)
      held ? held.push(line) : console.error(line)
    },
    end() {
      for (const line of held ?? []) console.log(line)
      if (failures > 0)
        console.error(`residual: ${failures} of ${successes + failures} could not be classified`)
      return failures > 0 ? 1 : 0
    },
  }
}

/** A JSON array, its elements on lines of their own so that it can be read while it is written. */
function jsonReport(activation: Activation): Report {
  let separator = '[\n'
  let failures = 0
  const print = (element: object) => {
    process.stdout.write(separator + JSON.stringify(element))
    separator = ',\n'
  }
  return {
    success: (file, predictions, ms, cam) =>
      print({ file, predictions, activation, ms: Number(ms.toFixed(3)), ...(cam && { cam }) }),
    failure(file, error) {
      failures++
      print({
        file,
        error: { code: error instanceof ResidualError ? error.code : error.name, message: error.message },
      })
      console.error(errorLine(error))
    },
    end() {
      process.stdout.write(separator === '[\n' ? '[]\n' : '\n]\n')
      return failures > 0 ? 1 : 0
    },
  }
}

/** Messages name the file they are about. */
function errorLine(error: Error): string {
  return `residual: ${error.message}${error instanceof ResidualError ? ` [${error.code}]` : ''}`
}

function progressWanted(count: number): boolean {
  return process.stderr.isTTY === true && count >= manyPictures
}

function progressBar(count: number): cliProgress.SingleBar | undefined {
  if (!progressWanted(count)) return undefined
  const format = '{bar} {value}/{total} pictures, {eta_formatted} left'
  const bar = new cliProgress.SingleBar({ format, clearOnComplete: true }, cliProgress.Presets.shades_classic)
  bar.start(count, 0)
  return bar
}

/** One file per picture: `out.png`, or for several `out-NAME.png`, with numbers where names meet. */
function camPaths(out: string, inputs: readonly Input[]): string[] {
  const { dir, name } = parse(out)
  if (inputs.length === 1) return [out]
  const used = new Map<string, number>()
  return inputs.map(input => {
    const stem = input.name === '-' ? 'stdin' : basename(input.name, extname(input.name))
    const count = (used.get(stem) ?? 0) + 1
    used.set(stem, count)
    return join(dir, `${name}-${stem}${count > 1 ? `-${count}` : ''}.png`)
  })
}

async function writeCam(
  path: string,
  classifier: Classifier,
  { picture, view, outputs }: Extract<Result, { view: object }>,
  index: number,
): Promise<void> {
  const { map, ...size } = classifier.activationMap(outputs.featureMaps, index)
  const png = await overlay(await decode(picture), view, map, size)
  try {
    await writeFile(path, png)
  } catch (cause) {
    throw new ResidualError(
      'FILE_WRITE_FAILED',
      `${path} could not be written: ${(cause as Error).message}.`,
      { cause },
    )
  }
}
