// A tensor as it is stored in a file.

import type { StoredType } from '../tensors/stored-type.ts'
import type { FilePlace } from './checkpoint-file.ts'

/** Where all numbers of a tensor are stored, row-major and in this machine's byte order. */
export interface StoredTensor {
  readonly place: FilePlace
  readonly type: StoredType
  /**
   * Present if the file has a checksum: await it before trusting the numbers.
   *
   * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID if the checksum does not match
   */
  readonly check?: () => Promise<void>
}
