// Request and response tensors and their metadata, independent of the transport.

/** A tensor of a request. Exactly one of `raw`, `values` and `elements` is there. */
export interface InputTensor {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly number[]
  /** Row-major, little-endian; BYTES as a length of four bytes before each element. */
  readonly raw?: Uint8Array
  /** Row-major, flat or nested; BYTES as bytes, or as text in base64. */
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
  /** -1 where any extent will do. */
  readonly shape: readonly number[]
}
