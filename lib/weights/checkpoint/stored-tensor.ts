// A tensor as it is stored in a file.

import type { StoredType } from '../tensors/stored-type.ts'
import type { FilePlace } from './checkpoint-file.ts'

/** Where all numbers of a tensor are stored, row-major and in this machine's byte order. */
export interface StoredTensor {
  readonly place: FilePlace
  readonly type: StoredType
  /**
   * Of type I8: what the integers of each channel are multiplied by.
   *
   * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID if they are not positive numbers
   */
  readonly readScales?: () => Promise<Float32Array>
  /**
   * Present if the file has a checksum: await it before trusting the numbers.
   *
   * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID if the checksum does not match
   */
  readonly check?: () => Promise<void>
}
