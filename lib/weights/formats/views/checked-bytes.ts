// A zip entry's bytes, with a checksum that is verified as they are read from front to back.
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import { crc32 } from '../crc32.ts'
import type { DataReader } from './data-reader.ts'
import { FileBytes } from './stored-data.ts'

/** Bytes read and checksummed at a time. */
export const pieceBytes = 1 << 20

/** Whether an entry has a checksum. 0 means none, as written after `torch.serialization.set_crc32_options(False)`. */
const isSummed = (checksum: number) => checksum !== 0

/** An uncompressed entry. */
export class CheckedBytes extends FileBytes {
  #checked: boolean
  #checking: Promise<void> | undefined // once, however many tensors are views of the bytes

  constructor(
    at: number,
    length: number,
    private readonly name: string,
    private readonly checksum: number,
  ) {
    super(at, length)
    this.#checked = !isSummed(checksum)
  }

  /** Starts one pass over the bytes. Those read only for the checksum go to `memory`, of {@link pieceBytes}. */
  reading(
    source: ByteSource,
    memory: () => Uint8Array = () => Buffer.alloc(Math.min(pieceBytes, this.length)),
  ) {
    let sum = 0
    let summed = 0 // bytes summed so far, from the front
    const read: DataReader = async (target, position) => {
      if (this.#checked || position !== summed) return await source.read([target], this.at + position)
      for (let at = 0; at < target.length; at += pieceBytes) {
        const piece = target.subarray(at, at + pieceBytes)
        await source.read([piece], this.at + summed)
        sum = crc32(piece, sum)
        summed += piece.length
      }
    }
    /** Reads the skipped bytes, unless the checksum has already been verified. */
    const finish = async () => {
      if (this.#checked) return
      if (summed < this.length) {
        const piece = memory()
        while (summed < this.length) await read(piece.subarray(0, this.length - summed), summed)
      }
      checkSum(source, this.name, sum, this.checksum)
      this.#checked = true
    }
    return { read, finish }
  }

  /**
   * Verifies all bytes.
   *
   * @throws ResidualError CHECKPOINT_INVALID if the checksum does not match
   */
  async check(source: ByteSource, memory?: () => Uint8Array): Promise<void> {
    this.#checking ??= this.reading(source, memory).finish()
    await this.#checking
  }
}

/** @throws ResidualError CHECKPOINT_INVALID if the entry has a checksum and it is not `found` */
export function checkSum(source: ByteSource, name: string, found: number, checksum: number): void {
  if (!isSummed(checksum) || found === checksum) return
  const [is, was] = [found, checksum].map(sum => sum.toString(16).padStart(8, '0'))
  throw invalidCheckpoint(source, `its '${name}' is damaged: the checksum is ${is} instead of ${was}`)
}
