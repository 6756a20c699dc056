// The values of a pickle: inert data, good for nothing but being looked at.

import type { ResidualError } from '../../../errors.ts'
import type { FileBytes, LongText, Storage } from '../views/stored-data.ts'
import type { TensorView } from '../views/tensor-view.ts'

export class List {
  readonly items: Value[] = []
}

export type Key = string | number | boolean

/** Keys of other types are dropped with their values: they cannot name a tensor. */
export class Dict {
  entries: Map<Key, Value> | undefined // most dictionaries in hostile files are empty

  set(key: Value, value: Value): void {
    if (typeof key !== 'string' && typeof key !== 'number' && typeof key !== 'boolean') return
    this.entries ??= new Map()
    this.entries.set(key, value)
  }
}

/** Something that training leaves in checkpoints and that does not affect weights. Everything put into it is dropped. */
export class Ignored {}

/**
 * The result of a global that is not listed in globals.ts, which was not called. Its attributes and items are kept: it may be a
 * module or another kind of dictionary.
 */
export class Opaque extends Ignored {
  state: Value | undefined
  readonly items = new Dict()

  constructor(
    readonly name: string,
    /** Whether it was made from a storage, and so is some kind of tensor. */
    readonly isTensor: boolean,
  ) {
    super()
  }
}

/** The machine's interface for the functions it calls. */
export interface Caller {
  /** Call this before work that a few bytes can ask for. Throws if it is too much. */
  spend(work: number): void
  /** The error to throw: `text` continues after "its pickle". */
  problem(text: string): ResidualError
}

/** A class or function. Calling it does only what globals.ts defines; others give an {@link Opaque}. */
export class Global {
  constructor(
    readonly name: string,
    readonly call: (args: readonly Value[], caller: Caller) => Value,
    /** If it names a numeric type: safetensors' name for it. */
    readonly dtype?: string,
  ) {}
}

/** numpy's `dtype`, whose byte order is set after its creation. */
export class NumpyType {
  swapped = false
  constructor(readonly dtype: string) {}
}

/** numpy's `ndarray`, whose shape and bytes are set after its creation. */
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
