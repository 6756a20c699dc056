// Request and response tensors and their metadata, independent of the transport.

/** A tensor of a request, with exactly one of `raw`, `values` and `elements`. */
export interface InputTensor {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly number[]
  /** Row-major, little-endian; BYTES as a length of four bytes before each element. */
  readonly raw?: Uint8Array
  /** Row-major, flat or nested; BYTES as bytes or base64 text. */
  readonly values?: readonly unknown[]
  /** Of BYTES. */
  readonly elements?: readonly Uint8Array[]
}

/** A tensor of an answer. */
export interface OutputTensor {
  readonly name: string
  readonly datatype: 'FP32' | 'BYTES'
  readonly shape: readonly number[]
  readonly data: Float32Array | readonly string[]
}

export interface TensorMetadata {
  readonly name: string
  readonly datatype: string
  /** -1 for a dimension of any size. */
  readonly shape: readonly number[]
}
