// `residual bench`: the speed of a model on this machine, compared with onnxruntime-node where it is installed.
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Command } from 'commander'
import { packageVersion } from '../base/package-version.ts'
import { benchmark } from '../benchmark/benchmark.ts'
import { chartSvg } from '../benchmark/chart.ts'
import type { Engine, Subject } from '../benchmark/engine.ts'
import { thisMachine, versionsOf } from '../benchmark/machine.ts'
import { findOnnxRuntime, type OnnxRuntime, onnxRuntimeEngine } from '../benchmark/onnxruntime.ts'
import { opBenchmark } from '../benchmark/ops.ts'
import { caseText, type Report, reportText } from '../benchmark/report.ts'
import { residualEngine } from '../benchmark/residual-engine.ts'
import { makeSubject } from '../benchmark/subject.ts'
import { writeAtomically } from '../files/atomic-file.ts'
import { cpuInstructionSet } from '../runtime/native.ts'
import { defaultMaxBatch, type SessionOptions } from '../runtime/session-options.ts'
import { index, positive, positiveSeconds, positives } from './options/numbers.ts'
import { openNamedModel } from './options/plan-of.ts'
import { sayAll, sayJson, warn, warnAll } from './terminal/print.ts'

/** What is measured, and for how long. */
export interface BenchSettings {
  readonly batch: readonly number[]
  readonly threads: readonly number[]
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

/** Gives a command the options that {@link BenchSettings} are made of. */
export function benchOptions(command: Command): Command {
  return command
    .option('--batch <n,...>', 'batch sizes', positives, [1, 8, 32])
    .option('--threads <n,...>', 'threads that compute', positives, [...new Set([1, availableParallelism()])])
    .option('--seconds <s>', 'for each batch size and number of threads, at least', positiveSeconds, 10)
    .option('--starts <n>', 'fresh starts of each, for load time and peak memory', index, 3)
    .option('--size <n>', 'height and width of the images of a ResNet by name', positive, 224)
    .option('--op', 'operation by operation instead')
    .option('--autotune', 'have residual choose by timing how to compute each convolution')
}

export async function bench(options: BenchArguments): Promise<number> {
  const { model, json, svg } = options
  const found = findOnnxRuntime(process.cwd())
  const engines = [residualEngine(packageVersion(), sessionOptions(options))]
  if ('module' in found) engines.push(onnxRuntimeEngine(found))
  else
    warn(
      `residual: measured alone, there is no onnxruntime-node to compare with (${found.missing}). ` +
        '`npm install onnxruntime-node` in this folder brings it.',
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

/** 1 where an engine failed. */
export const exitCode = ({ cases }: Report) => (cases.some(({ failures }) => failures.length > 0) ? 1 : 0)

/** Of residual's sessions: as they are by default, but made for no larger batches than are measured. */
export function sessionOptions({ batch, autotune = false }: BenchSettings): SessionOptions {
  return { maxBatch: Math.min(Math.max(...batch), defaultMaxBatch), autotune }
}

/** `engines`: residual first. Yields the report so far after each measurement, and tells on standard error how it gets on. */
export async function* runBenchmark(
  models: readonly string[],
  engines: readonly Engine[],
  onnxRuntime: OnnxRuntime | null,
  settings: BenchSettings,
): AsyncGenerator<Report> {
  const { batch: batches, threads, seconds, starts, size, op } = settings
  const isa = cpuInstructionSet()
  let report: Report = {
    date: new Date().toISOString(),
    machine: thisMachine(),
    isa,
    versions: versionsOf(op ? engines.filter(({ name }) => isProfiled(name)) : engines),
    cases: [],
    opCases: [],
  }
  for (const model of models) {
    await using opened = await openSubject(model, size)
    if (op) {
      for (const threadCount of threads)
        for (const batch of batches) {
          const session = sessionOptions({ ...settings, batch: [batch] })
          const options = { threads: threadCount, batch, seconds, isa, session }
          const opCase = await opBenchmark(opened.subject, onnxRuntime, options)
          report = { ...report, opCases: [...report.opCases, opCase] }
          yield report
        }
      continue
    }
    const options = { batches, threads, seconds, starts, isa }
    for await (const one of benchmark(opened.subject, engines, options)) {
      warnAll(caseText(one))
      report = { ...report, cases: [...report.cases, one] }
      yield report
    }
  }
}

/** The files of a model, which are there until it is disposed of. */
async function openSubject(
  model: string,
  size: number,
): Promise<AsyncDisposable & { readonly subject: Subject }> {
  const named = await openNamedModel(model, size)
  const folder = await mkdtemp(join(tmpdir(), 'residual-bench-'))
  const close = async () => {
    await rm(folder, { recursive: true })
    await named.close()
  }
  try {
    const name = named.path === null ? model : basename(named.path, '.safetensors')
    return { subject: await makeSubject(name, named, folder), [Symbol.asyncDispose]: close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Of these alone the times of single operations can be had. */
const isProfiled = (engine: string) => engine === 'residual' || engine === 'onnxruntime'

export async function writeText(path: string, text: string): Promise<void> {
  await writeAtomically(path, handle => handle.writeFile(text))
}
