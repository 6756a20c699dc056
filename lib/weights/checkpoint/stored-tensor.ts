// A tensor as it is stored in a file.

import type { StoredType } from '../tensors/stored-type.ts'
import type { FilePlace } from './checkpoint-file.ts'

/** Where all numbers of a tensor lie, row-major and in this machine's byte order. */
export interface StoredTensor {
  readonly place: FilePlace
  readonly type: StoredType
  /**
   * To be awaited before the numbers are believed, where the file has a checksum of them.
   *
   * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID where they are not what they were
   */
  readonly check?: () => Promise<void>
}
