// The engines of a benchmark: the same network, weights and images for each.
import { ResidualError } from '../errors.ts'
import type { Network } from '../model/graph.ts'
import type { Plan } from '../model/plan.ts'
import { createSession, type Session } from '../runtime/session.ts'
import type { SessionOptions } from '../runtime/session-options.ts'
import type { WeightSource } from '../weights/source.ts'

/** What every engine is given. */
export interface Subject {
  readonly name: string
  readonly network: Network
  readonly plan: Plan
  readonly weights: WeightSource
  /** The weights as residual reads them: a checkpoint of any format. */
  readonly checkpoint: string
  /** The same weights as a safetensors file, under the network's own names, written on first use. */
  safetensors(): Promise<string>
  /** The same network as an ONNX file, layer by layer, written on first use. */
  onnx(): Promise<string>
}

/** Images `[N,H,W,C]`, normalised, on which every engine is measured. */
export interface Images {
  readonly data: Float32Array
  readonly dims: readonly [batch: number, height: number, width: number, channels: number]
}

/** Something that can run networks. */
export interface Engine {
  readonly name: string
  readonly version: string
  open(subject: Subject, threads: number): Promise<OpenEngine>
  /** The command line of a process that opens the subject's file, runs one batch and prints a `Start`. */
  startCommand(subject: Subject, dims: Images['dims'], threads: number): Promise<readonly string[]>
}

/** An engine with a network loaded. */
export interface OpenEngine {
  /** Takes the images that {@link run} will use, runs them once and resolves to their logits `[N,classes]`. */
  prepare(images: Images): Promise<Float32Array>
  /** Runs them again and resolves to the time in milliseconds. */
  run(): Promise<number>
  close(): Promise<void>
}

/** An error together with the engine that threw it. */
export class EngineError extends Error {
  readonly engine: Engine

  constructor(engine: Engine, cause: unknown) {
    super(cause instanceof ResidualError ? `${cause.message} [${cause.code}]` : messageOf(cause), { cause })
    this.engine = engine
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** @throws EngineError if `work` fails */
export async function ofEngine<T>(engine: Engine, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw new EngineError(engine, error)
  }
}

export async function timed(run: () => Promise<unknown>): Promise<number> {
  const begin = performance.now()
  await run()
  return performance.now() - begin
}

/** A session on the CPU with the weights of a subject. */
export function openSession({ plan, weights }: Subject, options: SessionOptions): Promise<Session> {
  return createSession(plan, weights, { ...options, device: 'cpu' })
}
