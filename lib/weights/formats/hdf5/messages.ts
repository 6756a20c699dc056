// Messages between the thread that runs the HDF5 library and the one that wants tensors.
import type { Dataset, DatasetPart, Tree } from './dataset.ts'

/** Opens the HDF5 file of `size` bytes that begins at byte `offset` of a file which is open already, and stays so. */
export interface OpenRequest {
  readonly kind: 'open'
  readonly descriptor: number
  readonly offset: number
  readonly size: number
  /** Of groups. */
  readonly attributes: readonly string[]
}

/** A part of a dataset as float32. */
export interface ReadRequest {
  readonly kind: 'read'
  readonly dataset: Dataset
  readonly part: DatasetPart
}

/** What is open is read no more. */
export interface CloseRequest {
  readonly kind: 'close'
}

export type Request = OpenRequest | ReadRequest | CloseRequest

/** What the thread gets: with a request to read the memory for the values, which is its own until it replies. */
export type Received = OpenRequest | CloseRequest | (ReadRequest & { readonly memory: ArrayBuffer })

/** Why there is no result: the file cannot be read, is no HDF5 file, or takes more memory than there is. */
export interface Failure {
  readonly reason: 'unreadable' | 'invalid' | 'memory'
  readonly message: string
  /** Whether the library is in no state to go on. */
  readonly fatal: boolean
}

/** Memory comes back with the values, or without any where reading has failed. */
export type Reply = { readonly memory?: ArrayBuffer } & (
  | { readonly tree: Tree }
  | { readonly read: true }
  | { readonly failure: Failure }
  | { readonly closed: true }
)

/** What the thread is started with: shared memory in which it shows that it lives. */
export interface ThreadData {
  readonly signs: Int32Array<SharedArrayBuffer>
}

/** Places in {@link ThreadData.signs}. */
export const sign = {
  /** Goes up with each object and each part of a dataset that is done. */
  progress: 0,
  /** 1 while the system reads: a slow disk is no damaged file. */
  reading: 1,
} as const
