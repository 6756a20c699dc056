// Inference requests and results, independent of the transport.
import type { InputTensor, OutputTensor } from './tensor.ts'

/** An output that a request asks for. */
export interface RequestedOutput {
  readonly name: string
  /** Instead of the tensor its greatest values, this many, with their index and label. */
  readonly classification?: number
}

export interface InferRequest {
  readonly inputs: readonly InputTensor[]
  /** All the model has unless given. */
  readonly outputs?: readonly RequestedOutput[]
}

/** Where the time of a request went, in milliseconds. */
export interface Timings {
  /** Decoding and preprocessing, with the wait for a free decoder. */
  readonly decodeMs: number
  readonly queueMs: number
  readonly computeMs: number
}

export interface InferResult {
  readonly outputs: readonly OutputTensor[]
  readonly images: number
  readonly timings: Timings
}

/** What came of a request. */
export interface Done {
  readonly images: number
  readonly timings: Timings
}
