// What a quantization comes to: how well the model still does, per class and per operation, and what it gains.
import type { ClassResult } from './agreement.ts'
import type { UnreadableImage } from './images.ts'
import type { KeptOp } from './keep-ops.ts'
import type { OpNoise } from './noise.ts'
import type { RangeMethod } from './ranges.ts'
import type { Speed } from './speed.ts'

export interface ClassReport extends ClassResult {
  readonly label: string
}

export interface QuantizeReport {
  /** The checkpoint that was quantized, and the one that was written. */
  readonly model: string
  readonly out: string
  readonly method: RangeMethod
  /** Whether channels were brought to similar scales. */
  readonly isEqualised: boolean
  readonly isa: string
  readonly threads: number
  readonly images: {
    /** How many were to calibrate the model, how many did, and how many others it was compared by. */
    readonly asked: number
    readonly calibrated: number
    readonly compared: number
    readonly unreadable: readonly UnreadableImage[]
  }
  readonly agreement: {
    /** Of the images compared, those that keep their class. */
    readonly share: number
    readonly wanted: number
    /** Whether the caller asked for it. */
    readonly isPromised: boolean
  }
  /** Operations that are kept in bf16. */
  readonly kept: readonly KeptOp[]
  /** Of the images compared that have a label, those that are right in float32 and quantized. */
  readonly accuracy?: { readonly images: number; readonly before: number; readonly after: number }
  readonly classes?: readonly ClassReport[]
  readonly noise: readonly OpNoise[]
  /** Sizes of the files. */
  readonly bytes: { readonly before: number; readonly after: number }
  readonly speed: readonly Speed[]
}
