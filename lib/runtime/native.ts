// The native addon: where it is, and its interface.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { types } from 'node:util'
import { packageRoot } from '../base/package-root.ts'
import { type ErrorCode, errorCodes, ResidualError } from '../errors.ts'
import type { OutputName, Plan } from '../model/plan.ts'
import type { FilePlace } from '../weights/checkpoint/checkpoint-file.ts'
import type { WeightLayout } from '../weights/stored-source.ts'
import type { StoredType } from '../weights/tensors/stored-type.ts'
import type { LibraryCandidates } from './cuda/libraries.ts'

/** A crop window of an image resized to `outHeight` x `outWidth`; all in pixels. */
export interface ResizeGeometry {
  readonly height: number
  readonly width: number
  readonly outHeight: number
  readonly outWidth: number
  readonly top: number
  readonly left: number
  readonly cropHeight: number
  readonly cropWidth: number
  readonly filter: 'bilinear' | 'bicubic'
  /** The caller does not share the array of pixels, so it is read in place; otherwise it is copied. */
  readonly exclusive?: boolean
}

/** What was seen of an operation's results over some batches. Must match `core::Observation`. */
export interface Observation {
  /** Their number; each has a number per channel. */
  readonly pixels: number
  /** `[C]`, and so are the others. */
  readonly channelSums: Float64Array
  /** Sums of squares. */
  readonly channelSquares: Float64Array
  /** Of magnitudes. */
  readonly channelMaxima: Float32Array
  /** `bins[i]` counts the magnitudes in `[i, i + 1) * binWidth`; none is larger. 0 if all numbers were 0. */
  readonly binWidth: number
  readonly bins: Float64Array
}

/** The results that were asked for, of a batch. */
type Outputs = { [name in OutputName]?: Float32Array<ArrayBuffer> }

/**
 * One backend's session. C++ validates and copies its arguments, and reports INTERNAL for any that `Session` should have refused.
 */
export interface NativeSession {
  /**
   * Multiplies each output channel of `stored`, of `layout` and `type`, by its scale and packs the result. The arrays are
   * copied; the file must stay open until the promise settles. Throws or rejects with NON_FINITE, naming the channel;
   * FILE_NOT_FOUND and CHECKPOINT_INVALID if the file cannot be read or is too short. Several operations may be loaded
   * concurrently.
   */
  loadWeights(
    op: number,
    stored: Uint8Array | FilePlace,
    layout: WeightLayout,
    type: StoredType,
    scale: Float64Array,
    bias: Float32Array,
  ): Promise<void>
  /** Makes ready what a batch of so many images takes, which on a GPU may be minutes; runs that take nothing of it go on meanwhile. */
  prepare(images: number): Promise<void>
  run(input: Uint8Array | Float32Array, outputs: readonly OutputName[]): Promise<Outputs>
  /** Runs a batch and resolves to the milliseconds of each operation. */
  profile(input: Uint8Array | Float32Array): Promise<Float64Array>
  /**
   * Runs a batch like {@link run} and adds what its operations compute to {@link observations}. Rejects with NON_FINITE,
   * BACKEND_UNAVAILABLE.
   */
  observe(input: Uint8Array, outputs: readonly OutputName[]): Promise<Outputs>
  /** By operation of the plan; to be read when no run is in progress, for which it would wait. */
  observations(): Observation[]
  /** Runs a batch and keeps the results of each operation until the next one. Rejects with BACKEND_UNAVAILABLE. */
  capture(input: Uint8Array): Promise<void>
  /** The results of an operation for that batch, `[N,H,W,C]`, float32 whatever they are kept as. */
  captured(op: number): Float32Array<ArrayBuffer>
  dispose(): void
  description(): string
  /** By operation of the plan: the names of its possible algorithms, the one in use first. Empty if there is no choice. */
  algorithms(): string[][]
}

/** Options of a session's backend; each backend reads its own. Must match `core::BackendOptions`. */
export interface NativeOptions {
  readonly threads?: number
  readonly isa?: string
  readonly exact?: boolean
  /**
   * By operation of the plan, one that `NativeSession.algorithms` lists; '' for the first, which does not depend on the machine.
   */
  readonly algorithms?: readonly string[]
  readonly deviceIndex?: number
  readonly precision?: string
  readonly batchSizes?: readonly number[]
  readonly autotune?: boolean
  readonly cudaGraph?: boolean
  readonly planCache?: string
}

/** The instruction sets of a backend's kernels for fewer bits than float32. Must match `core::ReducedKernels`. */
export interface ReducedKernels {
  readonly bf16: string | null
  readonly int8: string | null
}

/** The result of compiling one operation ahead of time. Must match `core::CompiledOp`. */
export interface CompiledOp {
  /** Its index in the plan. */
  readonly op: number
  /** Equal for operations that share a compiled plan; empty for the backend's own kernels. */
  readonly key: string
  /** cuDNN's description of the compiled plan; empty for the backend's own kernels. */
  readonly json: string
  readonly workspaceBytes: number
  /** Found in the cache folder. */
  readonly cached: boolean
  /** Why cuDNN does not run it; empty if it does. */
  readonly reason: string
}

/** The exports of a binary of `native/`. Errors carry a `code`; pass them through {@link translateError}. */
export interface NativeAddon {
  readonly NativeSession: {
    /** Opens the device on this thread, which only the CPU is fast enough for. */
    new (plan: Plan, options: NativeOptions): NativeSession
    /** Opens it on another thread. */
    open(plan: Plan, options: NativeOptions): Promise<NativeSession>
  }
  /** Takes u8 `[height,width,3]`, resolves to u8 `[cropHeight,cropWidth,3]`. */
  resize(pixels: Uint8Array, geometry: ResizeGeometry): Promise<Uint8Array>
  /** Instruction sets or GPUs this machine has, best first; GPUs only once {@link openDevices} has resolved. */
  capabilities(): string[]
  /**
   * The instruction sets of its kernels for fewer bits, with an instruction set that is used with all it includes; an empty `isa`
   * means the best one. Null if it has none, or they are not faster than those for fp32.
   */
  reducedKernels?(isa: string): ReducedKernels
  /**
   * FLOP/s of multiply-adds in registers, the yardstick for a convolution's speed. An empty `isa` means the best one. Those of a
   * precision are the ones that its kernels compute with; without any, those of fp32.
   */
  multiplyAddRate(isa: string, precision: string, threads: number, milliseconds: number): Promise<number>
  /** Opens the libraries that the backend is not linked with, off the event loop. Must be called first. */
  openLibraries(candidates: LibraryCandidates): Promise<void>
  /** The same, and resolves to what {@link capabilities} returns: the driver takes about 100 ms to find a GPU. */
  openDevices(candidates: LibraryCandidates): Promise<string[]>
  compileAhead(
    plan: Plan,
    options: { gpu: string; precision: string; batch: number; threads: number; planCache: string },
  ): Promise<CompiledOp[]>
  readonly info: {
    readonly backend: string
    readonly compiler: string
    /** Its table of operations and its precisions, to be compared with ours. */
    readonly operations: readonly object[]
    readonly precisions: readonly object[]
  }
}

/** The path of a backend's binary: from `RESIDUAL_ADDON_DIR` or `RESIDUAL_CUDA_ADDON` (a file), or where the build puts it. */
export function addonPath(backend: 'cpu' | 'cuda'): string {
  const { RESIDUAL_ADDON_DIR, RESIDUAL_CUDA_ADDON } = process.env
  return backend === 'cpu'
    ? join(RESIDUAL_ADDON_DIR ?? join(packageRoot, 'build', 'Release'), 'residual-cpu.node')
    : (RESIDUAL_CUDA_ADDON ?? join(packageRoot, 'build-cuda', 'Release', 'residual-cuda.node'))
}

let cpuAddon: NativeAddon | undefined

/**
 * The CPU backend's binary, loaded once.
 *
 * @throws ResidualError ADDON_NOT_BUILT
 */
export function loadNative(): NativeAddon {
  cpuAddon ??= load(addonPath('cpu'), (problem, cause) => {
    const remedy =
      'Build it with `npm rebuild residual` (in a clone: `npm run build`); this requires CMake and a C++17 compiler (GCC or Clang).'
    return new ResidualError('ADDON_NOT_BUILT', `${problem} ${remedy}`, { cause })
  })
  return cpuAddon
}

let cudaAddon: NativeAddon | undefined

/**
 * The CUDA backend's binary, loaded once; it does not open CUDA's libraries by itself.
 *
 * @throws ResidualError BACKEND_UNAVAILABLE
 */
export function loadCuda(): NativeAddon {
  cudaAddon ??= load(addonPath('cuda'), (problem, cause) => {
    const remedy =
      'Build it with `npm run build:cuda` in the folder of the package; this requires CMake, a C++17 compiler, and Python with pip ' +
      'if there is no CUDA 13 toolkit.'
    return new ResidualError('BACKEND_UNAVAILABLE', `${problem} ${remedy}`, { cause })
  })
  return cudaAddon
}

function load(path: string, errorFor: (problem: string, cause: unknown) => ResidualError): NativeAddon {
  try {
    return createRequire(import.meta.url)(path) as NativeAddon
  } catch (cause) {
    const reason = existsSync(path) ? `cannot be loaded: ${(cause as Error).message}` : 'does not exist'
    throw errorFor(`The native addon ${path} ${reason}.`, cause)
  }
}

/** The instruction set that sessions on the CPU use. */
export function cpuInstructionSet(): string {
  return process.env.RESIDUAL_CPU_ISA ?? loadNative().capabilities()[0]!
}

/**
 * The kernels for fewer bits that sessions on the CPU use.
 *
 * @throws ResidualError ADDON_NOT_BUILT
 */
export function reducedKernels(addon: NativeAddon = loadNative()): ReducedKernels {
  const isa = process.env.RESIDUAL_CPU_ISA ?? ''
  return translated(() => addon.reducedKernels?.(isa) ?? { bf16: null, int8: null })
}

/** Calls `body`, passing what it throws through {@link translateError}. */
export function translated<T>(body: () => T): T {
  try {
    return body()
  } catch (error) {
    throw translateError(error)
  }
}

/** Like {@link translated}, for rejections of promises. */
export async function translatedLater<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body()
  } catch (error) {
    throw translateError(error)
  }
}

/** Turns an error of the addon into a {@link ResidualError}; other errors are returned unchanged. */
export function translateError(error: unknown): unknown {
  if (!types.isNativeError(error) || error instanceof ResidualError) return error
  const code = (error as { code?: unknown }).code
  if (typeof code !== 'string' || !Object.hasOwn(errorCodes, code)) return error
  return new ResidualError(code as ErrorCode, error.message, { cause: error })
}
