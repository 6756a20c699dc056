// Ahead-of-time compilation of plans for a GPU that need not be present, from cuDNN's description of it.
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { checkNames, checkSignal, type Names } from '../base/options.ts'
import { packageRoot } from '../base/package-root.ts'
import { unlessAborted } from '../base/task-limit.ts'
import { checkInteger, outOfRange, ResidualError } from '../errors.ts'
import { checkPlan } from '../model/check-plan.ts'
import type { Plan } from '../model/plan.ts'
import { parseCudnnPlan } from './cuda/cudnn-plan.ts'
import { compileLibraries } from './cuda/libraries.ts'
import { addonPath, loadCuda, translatedLater } from './native.ts'
import { type GpuPrecision, gpuPrecisions } from './session-options.ts'

const gpuFolder = join(packageRoot, 'gpus')

/** The GPUs with a built-in description: a100, b200, h100, l4, t4. */
export function knownGpus(): string[] {
  return readdirSync(gpuFolder)
    .filter(name => name.endsWith('.json'))
    .map(name => name.slice(0, -'.json'.length))
    .sort()
}

/**
 * cuDNN's description of a GPU: one of {@link knownGpus}, or a JSON file.
 *
 * @throws ResidualError FILE_NOT_FOUND, GPU_INVALID for a file that is not JSON
 */
export function readGpu(nameOrFile: string): string {
  const file = knownGpus().includes(nameOrFile) ? join(gpuFolder, `${nameOrFile}.json`) : nameOrFile
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ResidualError(
      'FILE_NOT_FOUND',
      `'${nameOrFile}' is not one of ${knownGpus().join(', ')} and cannot be read as a file: ${(cause as Error).message}`,
      { cause },
    )
  }
  try {
    JSON.parse(text)
    return text
  } catch (cause) {
    throw new ResidualError('GPU_INVALID', `${file} is not JSON: ${(cause as Error).message}`, { cause })
  }
}

export interface CompileOptions {
  /** The description, from {@link readGpu}. */
  readonly gpu: string
  /** fp16 unless given. */
  readonly precision?: GpuPrecision
  readonly batch: number
  /** The folder for the compiled plans, to be passed to a session as `planCache`. Null: they are compiled and discarded. */
  readonly out: string | null
  /** Number of compiling threads; as many as the process may use unless given. */
  readonly threads?: number
  /** Ends the wait; the promise rejects with the signal's reason. Compilations already running still finish. */
  readonly signal?: AbortSignal
}

const optionNames = {
  gpu: true,
  precision: true,
  batch: true,
  out: true,
  threads: true,
  signal: true,
} as const satisfies Names<CompileOptions>

/** The result for one operation. */
export interface CompileReport {
  readonly name: string
  /** Whether cuDNN runs it, or one of residual's own kernels. */
  readonly by: 'cuDNN' | 'residual'
  /** Equal for operations that share a plan; null for residual's own kernels. */
  readonly key: string | null
  /** cuDNN's index of the engine. */
  readonly engine: number | null
  readonly workspaceBytes: number
  /** Names of the kernels; empty for engines that ship compiled with cuDNN. */
  readonly kernels: readonly string[]
  /** Whether the whole operation is one kernel; null if cuDNN does not say. */
  readonly oneKernel: boolean | null
  /** Whether it was already in the folder. */
  readonly cached: boolean
  /** Why cuDNN refused a convolution, if it did. */
  readonly refused: string | null
  /** cuDNN's description of the plan, as JSON; null for residual's own kernels. */
  readonly json: string | null
}

/**
 * Compiles all convolutions of a plan for one batch size. Needs cuDNN but neither a GPU nor its driver.
 *
 * @throws ResidualError PLAN_INVALID, BACKEND_UNAVAILABLE, GPU_INVALID, PRECISION_UNSUPPORTED; the signal's reason
 */
export async function compilePlan(plan: Plan, options: CompileOptions): Promise<CompileReport[]> {
  checkNames(options, optionNames)
  const signal = checkSignal(options.signal)
  signal?.throwIfAborted()
  const { gpu, precision = 'fp16', batch, out, threads = availableParallelism() } = options
  if (!gpuPrecisions.includes(precision))
    throw outOfRange(`one of ${gpuPrecisions.join(', ')}`, 'precision', precision)
  checkInteger('batch', batch, 1, 65536)
  checkInteger('threads', threads, 1, 1024)
  checkPlan(plan)
  const addon = loadCuda()
  const compiling = translatedLater(async () => {
    await addon.openLibraries(compileLibraries(dirname(addonPath('cuda'))))
    return addon.compileAhead(plan, { gpu, precision, batch, threads, planCache: out ?? '' })
  })
  const compiled = await (signal ? unlessAborted(compiling, signal) : compiling)
  return compiled.map(({ op, key, json, workspaceBytes, cached, reason }) => {
    const described = json === '' ? null : parseCudnnPlan(json)
    const kernels = described?.kernels ?? []
    return {
      name: plan.ops[op]!.name,
      by: described ? 'cuDNN' : 'residual',
      key: key || null,
      engine: described?.engine ?? null,
      workspaceBytes,
      kernels,
      oneKernel: described && kernels.length === 0 ? null : kernels.length <= 1,
      cached,
      refused: reason || null,
      json: json || null,
    }
  })
}
