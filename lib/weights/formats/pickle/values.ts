// The values of a pickle: inert data, good for nothing but being looked at.

import type { ResidualError } from '../../../errors.ts'
import type { FileBytes, LongText, Storage } from '../views/stored-data.ts'
import type { TensorView } from '../views/tensor-view.ts'

export class List {
  readonly items: Value[] = []
}

export type Key = string | number | boolean

/** Keys of other types are dropped with their values: no tensor can be named by them. */
export class Dict {
  entries: Map<Key, Value> | undefined // most dictionaries in hostile files are empty

  set(key: Value, value: Value): void {
    if (typeof key !== 'string' && typeof key !== 'number' && typeof key !== 'boolean') return
    this.entries ??= new Map()
    this.entries.set(key, value)
  }
}

/** Something that training leaves in checkpoints and no weight depends on. Whatever is put into it is dropped. */
export class Ignored {}

/**
 * What something gives that is not on the list in globals.ts: nothing was called for it. Its attributes and items are kept, for they
 * may be a module's, or a dictionary's of another kind.
 */
export class Opaque extends Ignored {
  state: Value | undefined
  readonly items = new Dict()

  constructor(
    readonly name: string,
    /** Whether it was made of a storage: a tensor of some kind, then. */
    readonly isTensor: boolean,
  ) {
    super()
  }
}

/** What the machine offers to what it calls. */
export interface Caller {
  /** To be called before work that a few bytes can ask for. Throws where it is too much. */
  spend(work: number): void
  /** The error to throw: `text` goes on from "its pickle". */
  problem(text: string): ResidualError
}

/** A class or function. Only what stands in globals.ts ever happens when it is called; of others it gives an {@link Opaque}. */
export class Global {
  constructor(
    readonly name: string,
    readonly call: (args: readonly Value[], caller: Caller) => Value,
    /** Where it names a type of numbers: as safetensors calls it. */
    readonly dtype?: string,
  ) {}
}

/** numpy's `dtype`, which hears of its byte order after it was made. */
export class NumpyType {
  swapped = false
  constructor(readonly dtype: string) {}
}

/** numpy's `ndarray`, which hears of its shape and bytes after it was made. */
export class NumpyArray {
  view: TensorView | undefined
}

/** A tuple is an array. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | LongText
  | FileBytes
  | readonly Value[]
  | List
  | Dict
  | Ignored
  | Global
  | Storage
  | NumpyType
  | NumpyArray
  | TensorView
