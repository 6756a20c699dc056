// How long from a file to the first logits, and how much memory at most? Every start is a process of its own, the engines in
// turn, and the built package is what runs.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ResidualError } from '../errors.ts'
import { packageRoot } from '../package-root.ts'
import type { Engine, Pictures, Subject } from './engine.ts'

/** The command line of such a process for an engine of Node's: `residual`, or the file of the module onnxruntime-node. */
export function nodeStart(
  engine: string,
  modelFile: string,
  dims: Pictures['dims'],
  threads: number,
): readonly string[] {
  const built = join(packageRoot, 'dist', 'bench', 'start-child.js')
  return [process.execPath, built, engine, modelFile, dims.join(','), String(threads)]
}

/** What a started process prints. */
export interface Start {
  /** From a process that has loaded nothing of the engine to the first logits in hand. */
  readonly milliseconds: number
  /** The most memory it held, above what it held before; null where the system does not tell. */
  readonly peakBytes: number | null
  /** How many there were. */
  readonly logits: number
}

/** `rounds` starts of each engine, in turn, after one each that brings the files into memory; by engine. */
export async function starts(
  engines: readonly Engine[],
  subject: Subject,
  dims: Pictures['dims'],
  threads: number,
  rounds: number,
): Promise<Start[][]> {
  if (rounds === 0) return engines.map(() => [])
  const commands = await Promise.all(engines.map(engine => engine.startCommand(subject, dims, threads)))
  const all: Start[][] = engines.map(() => [])
  const expected = dims[0] * subject.plan.values[subject.plan.outputs.logits]!.channels
  for (let round = -1; round < rounds; round++)
    for (const [i, command] of commands.entries()) {
      const start = await once(command)
      if (start.logits !== expected)
        throw new ResidualError(
          'RESULTS_DIFFER',
          `A start of ${engines[i]!.name} gave ${start.logits} logits where ${expected} are due.`,
        )
      if (round >= 0) all[i]!.push(start)
    }
  return all
}

async function once([command, ...args]: readonly string[]): Promise<Start> {
  const { stdout } = await promisify(execFile)(command!, args)
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!) // engines may print before
}
