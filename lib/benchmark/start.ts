// Cold starts: the time from a file to its first logits, and the peak memory. Each start is a process of its own, the engines take
// turns, and the built package is what runs.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from '../base/package-root.ts'
import { ResidualError } from '../errors.ts'
import { type Engine, type ImageDims, ofEngine, type RunSettings, type Subject } from './engine.ts'

/** The command line of such a process for an engine in Node: `residual`, or the file of the module onnxruntime-node. */
export function nodeStart(
  engine: string,
  modelFile: string,
  dims: ImageDims,
  { threads, precision }: RunSettings,
): readonly string[] {
  const built = join(packageRoot, 'dist', 'benchmark', 'start-child.js')
  return [process.execPath, built, engine, modelFile, dims.join(','), String(threads), precision]
}

/** What a started process prints. */
export interface Start {
  /** From a process that has loaded nothing of the engine to the first logits. */
  readonly milliseconds: number
  /** The increase in peak memory; null if the system does not report it. */
  readonly peakBytes: number | null
  /** The number of logits. */
  readonly logits: number
}

/**
 * `rounds` starts of each engine, in turn, after a first one each that brings the files into memory. By engine.
 *
 * @throws EngineError
 */
export async function starts(
  engines: readonly Engine[],
  subject: Subject,
  dims: ImageDims,
  settings: RunSettings,
  rounds: number,
): Promise<Start[][]> {
  if (rounds === 0) return engines.map(() => [])
  const expected = dims[0] * subject.plan.values[subject.plan.outputs.logits]!.channels
  const start = async (engine: Engine) => {
    const started = await once(await engine.startCommand(subject, dims, settings))
    if (started.logits === expected) return started
    const message = `A cold start gave ${started.logits} logits instead of ${expected}.`
    throw new ResidualError('RESULTS_DIFFER', message)
  }
  const all: Start[][] = engines.map(() => [])
  for (let round = -1; round < rounds; round++)
    for (const [i, engine] of engines.entries()) {
      const started = await ofEngine(engine, start(engine))
      if (round >= 0) all[i]!.push(started)
    }
  return all
}

async function once([command, ...args]: readonly string[]): Promise<Start> {
  const { stdout } = await promisify(execFile)(command!, args).catch(error => {
    throw new Error(`A cold start failed: ${error.stderr?.trim() || error.message}`)
  })
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!) // engines may print something first
}
