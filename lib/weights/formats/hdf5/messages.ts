// Messages between the thread that runs the HDF5 library and the one that wants tensors.
import type { Dataset, DatasetPart, Tree } from './dataset.ts'

/** Opens the HDF5 file of `size` bytes at byte `offset` of a file that is already open and stays open. */
export interface OpenRequest {
  readonly kind: 'open'
  readonly descriptor: number
  readonly offset: number
  readonly size: number
  /** Names of group attributes. */
  readonly attributes: readonly string[]
}

/** A part of a dataset as float32. */
export interface ReadRequest {
  readonly kind: 'read'
  readonly dataset: Dataset
  readonly part: DatasetPart
}

/** Ends the reading of the open file. */
export interface CloseRequest {
  readonly kind: 'close'
}

export type Request = OpenRequest | ReadRequest | CloseRequest

/** A message to the thread: a request to read comes with memory for the values, which the thread owns until it replies. */
export type Received = OpenRequest | CloseRequest | (ReadRequest & { readonly memory: ArrayBuffer })

/** Why there is no result: the file cannot be read, is not an HDF5 file, or needs too much memory. */
export interface Failure {
  readonly reason: 'unreadable' | 'invalid' | 'memory'
  readonly message: string
  /** Whether the library is unusable. */
  readonly fatal: boolean
}

/** The memory is returned with the values, or without any if reading failed. */
export type Reply = { readonly memory?: ArrayBuffer } & (
  | { readonly tree: Tree }
  | { readonly read: true }
  | { readonly failure: Failure }
  | { readonly closed: true }
)

/** The thread's start data: shared memory for its signs of life. */
export interface ThreadData {
  readonly signs: Int32Array<SharedArrayBuffer>
}

/** Indices of {@link ThreadData.signs}. */
export const sign = {
  /** Incremented for each finished object and part of a dataset. */
  progress: 0,
  /** 1 while the system reads: a slow disk does not mean a damaged file. */
  reading: 1,
} as const
