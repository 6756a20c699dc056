// Inference requests and results, independent of the transport.
import type { InputTensor, OutputTensor } from './tensor.ts'

/** A requested output. */
export interface RequestedOutput {
  readonly name: string
  /** Return this many of the largest values, with index and label, instead of the tensor. */
  readonly classification?: number
}

export interface InferRequest {
  readonly inputs: readonly InputTensor[]
  /** All of the model's outputs unless given. */
  readonly outputs?: readonly RequestedOutput[]
}

/** Where the time of a request went, in milliseconds. */
export interface Timings {
  /** Decoding and preprocessing, including the wait for a free decoder. */
  readonly decodeMs: number
  readonly queueMs: number
  readonly computeMs: number
}

export interface InferResult {
  readonly outputs: readonly OutputTensor[]
  readonly images: number
  readonly timings: Timings
}

/** A finished request. */
export interface Done {
  readonly images: number
  readonly timings: Timings
}
