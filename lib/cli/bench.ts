// `residual bench`: the speed of a model on this machine, compared with onnxruntime-node where it is installed.
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { packageVersion } from '../base/package-version.ts'
import { benchmark } from '../benchmark/benchmark.ts'
import { chartSvg } from '../benchmark/chart.ts'
import { type BenchPrecision, benchPrecisions, type Engine, type Subject } from '../benchmark/engine.ts'
import { thisMachine, versionsOf } from '../benchmark/machine.ts'
import { findOnnxRuntime, type OnnxRuntime, onnxRuntimeEngine } from '../benchmark/onnxruntime.ts'
import { opBenchmark } from '../benchmark/ops.ts'
import { caseText, type Report, reportText } from '../benchmark/report.ts'
import { residualEngine } from '../benchmark/residual-engine.ts'
import { defaultSamples } from '../benchmark/samples.ts'
import { makeSubject } from '../benchmark/subject.ts'
import { writeAtomically } from '../files/atomic-file.ts'
import { lowerModel } from '../open-model.ts'
import { cpuInstructionSet, reducedKernels } from '../runtime/native.ts'
import { defaultMaxBatch, type SessionOptions } from '../runtime/session-options.ts'
import { generatedImages, imagesOf } from './bench-images.ts'
import { quantizedModel } from './bench-int8.ts'
import { openNamedModel } from './options/named-model.ts'
import { index, positive, positiveSeconds, positives } from './options/numbers.ts'
import { sayAll, sayJson, warn, warnAll } from './terminal/print.ts'

/** The cases to measure, and for how long. */
export interface BenchSettings {
  readonly batch: readonly number[]
  readonly threads: readonly number[]
  readonly precision: readonly BenchPrecision[]
  /** A folder of images to compare the engines on; generated ones unless given. */
  readonly images?: string
  readonly samples: number
  readonly seconds: number
  readonly starts: number
  readonly size: number
  readonly op?: boolean
  readonly autotune?: boolean
}

export interface BenchArguments extends BenchSettings {
  readonly model: string
  readonly json?: boolean
  readonly svg?: string
}

/** Adds the options for {@link BenchSettings} to a command. */
export function benchOptions(command: Command): Command {
  return command
    .option('--batch <n,...>', 'batch sizes', positives, [1, 8, 32])
    .option('--threads <n,...>', 'thread counts to measure with', positives, [
      ...new Set([1, availableParallelism()]),
    ])
    .option('--precision <names>', `precisions to measure: ${benchPrecisions.join(', ')}`, precisionList, [
      'fp32',
    ])
    .option('--images <folder>', 'images on which engines are to agree (default: generated ones)')
    .option('--samples <n>', 'how many images', positive, defaultSamples)
    .option('--seconds <s>', 'minimum time per batch size, thread count and precision', positiveSeconds, 10)
    .option('--starts <n>', 'cold starts per engine, for load time and peak memory', index, 3)
    .option('--size <n>', 'image height and width for resnet18 to resnet152', positive, 224)
    .option('--op', 'measure operation by operation instead')
    .option('--autotune', 'let residual choose the algorithm of each convolution by timing')
}

function precisionList(text: string): BenchPrecision[] {
  return text.split(',').map(name => {
    const precision = benchPrecisions.find(one => one === name)
    if (!precision) throw new InvalidArgumentError(`Expected some of ${benchPrecisions.join(', ')}.`)
    return precision
  })
}

export async function bench(options: BenchArguments): Promise<number> {
  const { model, json, svg } = options
  const found = findOnnxRuntime(process.cwd())
  const engines = [residualEngine(packageVersion(), sessionOptions(options))]
  if ('module' in found) engines.push(onnxRuntimeEngine(found))
  else
    warn(
      `residual: measured alone: onnxruntime-node is not available to compare with (${found.missing}). ` +
        'Run `npm install onnxruntime-node` in this folder to add it.',
    )
  let last: Report | undefined
  try {
    for await (const report of runBenchmark(
      [model],
      engines,
      'module' in found ? found.module : null,
      options,
    )) {
      last = report
      if (svg !== undefined) await writeText(svg, chartSvg(report))
    }
  } finally {
    if (last) json ? sayJson(last) : sayAll(reportText(last)) // whatever was measured
  }
  return exitCode(last!)
}

/** 1 if an engine failed. */
export const exitCode = ({ cases }: Report) => (cases.some(({ failures }) => failures.length > 0) ? 1 : 0)

/** Options for residual's sessions: the defaults, with batches no larger than those measured. */
export function sessionOptions({ batch, autotune = false }: BenchSettings): SessionOptions {
  return { maxBatch: Math.min(Math.max(...batch), defaultMaxBatch), autotune }
}

/** `engines`: residual first. Yields the report so far after each measurement, and prints progress on standard error. */
export async function* runBenchmark(
  models: readonly string[],
  engines: readonly Engine[],
  onnxRuntime: OnnxRuntime | null,
  settings: BenchSettings,
): AsyncGenerator<Report> {
  const { batch: batches, threads, precision: precisions, seconds, starts, op } = settings
  const isa = process.env.RESIDUAL_CPU_ISA ?? ''
  let report: Report = {
    date: new Date().toISOString(),
    machine: thisMachine(),
    isa: cpuInstructionSet(),
    kernels: kernelsFor(precisions),
    versions: versionsOf(op ? engines.filter(({ name }) => isProfiled(name)) : engines),
    cases: [],
    opCases: [],
  }
  for (const model of models) {
    await using opened = await openSubject(model, settings)
    if (op) {
      for (const one of opRuns(settings)) {
        const session = sessionOptions({ ...settings, batch: [one.batch] })
        const opCase = await opBenchmark(opened.subject, onnxRuntime, { ...one, seconds, isa, session })
        report = { ...report, opCases: [...report.opCases, opCase] }
        yield report
      }
      continue
    }
    const options = { batches, threads, precisions, seconds, starts, isa }
    for await (const one of benchmark(opened.subject, engines, options)) {
      warnAll(caseText(one))
      report = { ...report, cases: [...report.cases, one] }
      yield report
    }
  }
}

/** The instruction sets of residual's kernels for those precisions that have their own. */
function kernelsFor(precisions: readonly BenchPrecision[]): Report['kernels'] {
  const { bf16, int8 } = reducedKernels()
  return {
    ...(precisions.includes('bf16') && bf16 !== null && { bf16 }),
    ...(precisions.includes('int8') && int8 !== null && { int8 }),
  }
}

function* opRuns({ batch: batches, threads: counts, precision: precisions }: BenchSettings) {
  for (const threads of counts)
    for (const precision of precisions) for (const batch of batches) yield { threads, precision, batch }
}

/** The files of a model, which exist until it is disposed of. */
async function openSubject(
  model: string,
  settings: BenchSettings,
): Promise<AsyncDisposable & { readonly subject: Subject }> {
  const named = await openNamedModel(model, settings.size)
  const folder = await mkdtemp(join(tmpdir(), 'residual-bench-'))
  const opened: { close(): Promise<void> }[] = [named]
  const close = async () => {
    for (const model of opened) await model.close()
    await rm(folder, { recursive: true })
  }
  try {
    const name = named.path === null ? model : basename(named.path, '.safetensors')
    const { samples, calibration } = await (settings.images === undefined
      ? generatedImages(named.plan, settings.samples)
      : imagesOf(settings.images, named.preprocessing, settings.samples))
    const quantize = async () => {
      warn(`residual: quantizing ${name} with ${calibration.dims[0]} images ...`)
      const file = join(folder, `${name}.int8.safetensors`)
      const quantized = await quantizedModel(subject.checkpoint, calibration, file)
      opened.push(quantized)
      return { plan: lowerModel(quantized), weights: quantized.weights, path: quantized.checkpoint.path }
    }
    const subject = await makeSubject(name, named, folder, { samples, calibration, quantize })
    return { subject, [Symbol.asyncDispose]: close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Only these engines report times of single operations. */
const isProfiled = (engine: string) => engine === 'residual' || engine === 'onnxruntime'

export async function writeText(path: string, text: string): Promise<void> {
  await writeAtomically(path, handle => handle.writeFile(text))
}
