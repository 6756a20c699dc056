// The engines of a benchmark: the same network, weights, precision and images for each.
import { ResidualError } from '../errors.ts'
import type { Network } from '../model/graph.ts'
import type { Plan } from '../model/plan.ts'
import { createSession, type Session } from '../runtime/session.ts'
import type { SessionOptions } from '../runtime/session-options.ts'
import type { WeightSource } from '../weights/source.ts'

/** The precisions in which engines are compared. */
export const benchPrecisions = ['fp32', 'bf16', 'int8'] as const
export type BenchPrecision = (typeof benchPrecisions)[number]

/** A network with weights, as residual and as other engines read it. */
export interface Model {
  readonly plan: Plan
  readonly weights: WeightSource
  /** The weights as residual reads them: a checkpoint of any format. */
  readonly checkpoint: string
  /** The same network as an ONNX file, written on first use: layer by layer, or quantized as the checkpoint is. */
  onnx(): Promise<string>
  /** The operations of the plan as ONNX. */
  onnxOps(): Promise<OnnxOps>
}

export interface OnnxOps {
  readonly file: Uint8Array
  /** Its nodes are named after this plan's values. Operations have the names they have in {@link Model.plan}. */
  readonly plan: Plan
}

/** What every engine is given. */
export interface Subject extends Model {
  readonly name: string
  readonly network: Network
  /** The same weights as a safetensors file, under the network's own names, written on first use. */
  safetensors(): Promise<string>
  /** The images that engines are measured on, and have to agree on. */
  readonly samples: Samples
  /** Those that an engine may look at to quantize the network itself: a file of normalised float32, written on first use. */
  calibration(): Promise<{ readonly file: string; readonly dims: ImageDims }>
  /** What is run in a precision: for int8 the quantized model, made on first use. */
  in(precision: BenchPrecision): Promise<Model>
}

/** Sizes of images `[N,H,W,C]`. */
export type ImageDims = readonly [batch: number, height: number, width: number, channels: number]

/** Any number of images, as bytes `[N,H,W,C]`. */
export interface Samples {
  readonly bytes: Uint8Array
  readonly dims: ImageDims
}

/** A batch of images `[N,H,W,C]`: normalised, and the bytes that they were. */
export interface Images extends Samples {
  readonly data: Float32Array
}

/** How an engine is to run a network. */
export interface RunSettings {
  readonly threads: number
  readonly precision: BenchPrecision
}

/** Something that can run networks. */
export interface Engine {
  readonly name: string
  readonly version: string
  /** What it can compute in. */
  readonly precisions: readonly BenchPrecision[]
  open(subject: Subject, settings: RunSettings): Promise<OpenEngine>
  /** The command line of a process that opens the subject's file, runs one batch and prints a `Start`. */
  startCommand(subject: Subject, dims: ImageDims, settings: RunSettings): Promise<readonly string[]>
}

/** An engine with a network loaded. */
export interface OpenEngine {
  /** Takes the images that {@link run} will use, runs them once and resolves to their logits `[N,classes]`. */
  prepare(images: Images): Promise<Float32Array>
  /** The logits of other images of the same dims. */
  logits(images: Images): Promise<Float32Array>
  /** Runs them again and resolves to the time in milliseconds. */
  run(): Promise<number>
  close(): Promise<void>
  /** What is to be known about its results, a sentence. */
  readonly note?: string
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

/** A session on the CPU with what is run in a precision. */
export async function openSession(
  subject: Subject,
  { threads, precision }: RunSettings,
  options: SessionOptions,
): Promise<Session> {
  const { plan, weights } = await subject.in(precision)
  return createSession(plan, weights, { ...options, device: 'cpu', threads, precision })
}
