// The result of `residual inspect`.
import type { Preprocessing } from '../../image/preprocess.ts'
import type { Activation } from '../../model/activation.ts'
import type { Architecture } from '../../model/architecture.ts'
import type { Quantization } from '../../model/quantization.ts'
import type { OpenModel } from '../../open-model.ts'
import type { Summary } from '../../weights/tensors/summary.ts'

/** What is known about a file, whether or not it holds a network. */
export interface Inspection {
  readonly path: string
  readonly format: string
  readonly bytes: number
  /** Of the file. */
  readonly sha256: string
  readonly metadata: { readonly [key: string]: string }
  /** By dtype. */
  readonly tensors: { readonly [dtype: string]: { readonly tensors: number; readonly numbers: number } }
  readonly network: InspectedNetwork | { readonly problem: string; readonly code: string }
  /** With `stats`: one entry per tensor of a type that weights can have. */
  readonly stats?: readonly TensorStats[]
}

export interface InspectedNetwork {
  readonly scheme: string
  readonly prefix: string
  readonly architecture: Architecture
  readonly labels: readonly string[]
  readonly labelsFrom: OpenModel['labelsFrom']
  readonly activation: Activation
  readonly preprocessing: Preprocessing
  /** Of a quantized model: what is not computed in int8. */
  readonly kept?: Quantization['kept']
  /** Why a model that its file quantizes is not computed in int8 at all. */
  readonly unquantized?: string
}

export interface TensorStats extends Summary {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
}
