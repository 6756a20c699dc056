// Where a tensor's numbers are: in a storage, in the file, or in a text of the file.

/** Long text that stays in the file until it is needed. Names are shorter; an array's bytes in protocol 2 are not. */
export class LongText {
  constructor(
    readonly at: number,
    readonly length: number,
    /** How the file encodes each character. The text itself is always Latin-1. */
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

/** A PyTorch storage: numbers somewhere in the file, viewed by tensors. */
export class Storage {
  constructor(
    readonly key: string,
    /** `U8` for an untyped storage. */
    readonly dtype: string,
    /** Its length according to the file. */
    readonly length: number,
  ) {}
}

/** Where numbers are: in the file, in a short string (Latin-1), or in several parts in a row. */
export type StoredData = FileBytes | LongText | string | JoinedData

/** Or in a storage that is yet to be located by its key. */
export type Data = Storage | StoredData

export class JoinedData {
  constructor(readonly parts: readonly { readonly data: StoredData; readonly bytes: number }[]) {}
}
