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
  /** Nobody else has the array of pixels, which is read where it is; unless that is said it is copied. */
  readonly exclusive?: boolean
}

/** One backend's session. C++ checks what is handed to it, with INTERNAL for what `Session` should have refused, and keeps copies. */
export interface NativeSession {
  /**
   * Multiplies each output channel of `stored`, of `layout` and `type`, by its scale and packs that. The arrays are copied; nobody
   * may close the file until the promise settles. Throws or rejects with NON_FINITE, naming the channel; FILE_NOT_FOUND and CHECKPOINT_INVALID
   * where the file cannot be read or ends before. Several operations may be loaded at once.
   */
  loadWeights(
    op: number,
    stored: Uint8Array | FilePlace,
    layout: WeightLayout,
    type: StoredType,
    scale: Float64Array,
    bias: Float32Array,
  ): Promise<void>
  run(
    input: Uint8Array | Float32Array,
    outputs: readonly OutputName[],
  ): Promise<{ [name in OutputName]?: Float32Array<ArrayBuffer> }>
  /** Runs a batch and resolves to the milliseconds that each operation took. */
  profile(input: Uint8Array | Float32Array): Promise<Float64Array>
  dispose(): void
  description(): string
  /** By operation of the plan: the names of the ways it could be computed, first the one in use. None where nothing is to choose. */
  algorithms(): string[][]
}

/** What a session's backend is told; each looks at its own. `core::BackendOptions` is its twin. */
export interface NativeOptions {
  readonly threads?: number
  readonly isa?: string
  readonly exact?: boolean
  /** By operation of the plan, of those that `NativeSession.algorithms` lists; '' for its first, which does not depend on the machine. */
  readonly algorithms?: readonly string[]
  readonly deviceIndex?: number
  readonly precision?: string
  readonly batchSizes?: readonly number[]
  readonly autotune?: boolean
  readonly graph?: boolean
  readonly cacheFolder?: string
}

/** What became of one operation that was compiled ahead of time. `core::CompiledOp` is its twin. */
export interface CompiledOp {
  /** Its index in the plan. */
  readonly op: number
  /** Equal for operations that share a compiled plan; empty for kernels of the backend's own. */
  readonly key: string
  /** The compiled plan as cuDNN describes it; empty for kernels of the backend's own. */
  readonly json: string
  readonly workspaceBytes: number
  /** Found in the cache folder. */
  readonly cached: boolean
  /** Why cuDNN does not run it; empty where it does. */
  readonly reason: string
}

/** What a binary of `native/` exports. Errors carry a `code`; pass them through {@link translateError}. */
export interface NativeAddon {
  readonly NativeSession: new (plan: Plan, options: NativeOptions) => NativeSession
  /** Takes u8 `[height,width,3]`, resolves to u8 `[cropHeight,cropWidth,3]`. */
  resize(pixels: Uint8Array, geometry: ResizeGeometry): Promise<Uint8Array>
  /** Instruction sets or GPUs this machine has, best first. */
  capabilities(): string[]
  /** FLOP/s of multiply-adds in registers: what a convolution's speed is set beside. `isa` may be empty: the best. */
  multiplyAddRate(isa: string, threads: number, milliseconds: number): Promise<number>
  /** To be called before anything else where the backend needs libraries it is not linked with. */
  openLibraries(candidates: { readonly [library: string]: readonly string[] }): void
  compileAhead(
    plan: Plan,
    options: { gpu: string; precision: string; batch: number; threads: number; cacheFolder: string },
  ): Promise<CompiledOp[]>
  readonly info: { readonly backend: string; readonly compiler: string }
}

/** A backend's binary: where `RESIDUAL_ADDON_DIR` or `RESIDUAL_CUDA_ADDON` (a file) says, or where the build puts it. */
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
      'Build it with `npm rebuild residual` (in a clone: `npm run build`); that takes CMake and a C++17 compiler (GCC or Clang).'
    return new ResidualError('ADDON_NOT_BUILT', `${problem} ${remedy}`, { cause })
  })
  return cpuAddon
}

let cudaAddon: NativeAddon | undefined

/**
 * The CUDA backend's binary, loaded once; it opens no library of CUDA's by itself.
 *
 * @throws ResidualError BACKEND_UNAVAILABLE
 */
export function loadCuda(): NativeAddon {
  cudaAddon ??= load(addonPath('cuda'), (problem, cause) => {
    const remedy =
      'Build it with `npm run build:cuda` in the folder of the package; that takes CMake, a C++17 compiler, and Python with pip ' +
      'where there is no CUDA 13 toolkit.'
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

/** Calls `body`, passing what it throws through {@link translateError}. */
export function translated<T>(body: () => T): T {
  try {
    return body()
  } catch (error) {
    throw translateError(error)
  }
}

/** Turns an error of the addon into a {@link ResidualError}; others are returned as they are. */
export function translateError(error: unknown): unknown {
  if (!types.isNativeError(error) || error instanceof ResidualError) return error
  const code = (error as { code?: unknown }).code
  if (typeof code !== 'string' || !Object.hasOwn(errorCodes, code)) return error
  return new ResidualError(code as ErrorCode, error.message, { cause: error })
}
