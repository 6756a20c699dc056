// What do the thread that has the HDF5 library and the one that wants tensors say to each other?
import type { DatasetPart } from './data.ts'

/** A dataset of an HDF5 file. */
export interface Dataset {
  /** Names of groups and its own, from the root: `['model_weights', 'conv1_conv', ...]`. */
  readonly path: readonly string[]
  readonly shape: readonly number[]
  /** In safetensors' words; of types it has no word for, `HDF5 class 3`. */
  readonly dtype: string
  /**
   * Where in the opened file its numbers lie as they are, one after another; undefined where the library has to read them: they
   * are compressed, in chunks, of another byte order, in a header, or not there.
   */
  readonly at: number | undefined
}

/** What a file has in it. */
export interface Tree {
  readonly datasets: readonly Dataset[]
  /** Those attributes of groups that were asked for and are single strings, by the group's names joined by `/`. */
  readonly attributes: ReadonlyMap<string, ReadonlyMap<string, string>>
}

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
