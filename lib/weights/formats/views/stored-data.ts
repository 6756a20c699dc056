// Where a tensor's numbers are: in a storage, in the file, or in a text of the file.

/** Text that is only looked up in the file when it is asked for: a name is shorter, an array's bytes in protocol 2 are not. */
export class LongText {
  constructor(
    readonly at: number,
    readonly length: number,
    /** How the file has each character of what is, as all long text here, Latin-1. */
    readonly encoding: 'utf8' | 'latin1',
  ) {}
}

/** Bytes that stay where they are in the file. */
export class FileBytes {
  constructor(
    readonly at: number,
    readonly length: number,
  ) {}
}

/** PyTorch's storage: numbers somewhere in the file that tensors are views of. */
export class Storage {
  constructor(
    readonly key: string,
    /** `U8` in an untyped one. */
    readonly dtype: string,
    /** Numbers it is said to have. */
    readonly length: number,
  ) {}
}

/** Where numbers lie: in the file, in a short string (Latin-1), or in parts one after another. */
export type StoredData = FileBytes | LongText | string | JoinedData

/** Or in what a storage's key leads to. */
export type Data = Storage | StoredData

export class JoinedData {
  constructor(readonly parts: readonly { readonly data: StoredData; readonly bytes: number }[]) {}
}
