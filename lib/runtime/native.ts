// Where is the native addon, and what does it offer?
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ErrorCode, errorCodes, ResidualError } from '../errors.ts'
import type { OutputName, Plan } from '../model/plan.ts'

/** A crop window of a picture resized to `outHeight` x `outWidth`; all in pixels. */
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
}

/** One backend's session. Lengths are checked in C++; states and arguments are the business of `Session`. */
export interface NativeSession {
  loadWeights(op: number, weight: Float32Array, bias: Float32Array): Promise<void>
  run(
    input: Uint8Array | Float32Array,
    outputs: readonly OutputName[],
  ): Promise<{ [name in OutputName]?: Float32Array<ArrayBuffer> }>
  dispose(): void
  description(): string
}

/** What a binary of `native/` exports. Errors carry a `code`; pass them through {@link translateError}. */
export interface NativeAddon {
  readonly NativeSession: new (
    plan: Plan,
    options: { threads: number; isa: string; exact: boolean },
  ) => NativeSession
  /** Takes u8 `[height,width,3]`, resolves to u8 `[cropHeight,cropWidth,3]`. */
  resize(pixels: Uint8Array, geometry: ResizeGeometry): Promise<Uint8Array>
  readonly info: {
    readonly backend: string
    /** Instruction sets this machine can run, best first. */
    readonly capabilities: readonly string[]
    readonly compiler: string
  }
}

/** The folder that holds `package.json`. The sources and `dist/` lie at the same depth below it. */
export const packageRoot: string = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

let addon: NativeAddon | undefined

/**
 * The CPU backend's binary, loaded once. `RESIDUAL_ADDON_DIR` names another folder to take it from.
 *
 * @throws ResidualError ADDON_NOT_BUILT
 */
export function loadNative(): NativeAddon {
  if (addon) return addon
  const folder = process.env.RESIDUAL_ADDON_DIR ?? join(packageRoot, 'build', 'Release')
  const path = join(folder, 'residual-cpu.node')
  try {
    addon = createRequire(import.meta.url)(path) as NativeAddon
    return addon
  } catch (cause) {
    const reason = existsSync(path) ? `cannot be loaded: ${(cause as Error).message}` : 'does not exist'
    throw new ResidualError(
      'ADDON_NOT_BUILT',
      `The native addon ${path} ${reason}. Build it with \`npm rebuild residual\` (in a clone: \`npm run build\`); ` +
        'that takes CMake and a C++17 compiler (GCC or Clang).',
      { cause },
    )
  }
}

/** Turns an error of the addon into a {@link ResidualError}; others are returned as they are. */
export function translateError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof ResidualError) return error
  const code = (error as { code?: unknown }).code
  if (typeof code !== 'string' || !Object.hasOwn(errorCodes, code)) return error
  return new ResidualError(code as ErrorCode, error.message, { cause: error })
}
