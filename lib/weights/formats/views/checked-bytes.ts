// A zip entry's bytes, with a checksum that is verified as they are read from front to back.
import { invalidCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import { crc32 } from '../crc32.ts'
import type { DataReader } from './data-reader.ts'
import { FileBytes } from './stored-data.ts'

/** What is read and summed up at once. */
export const pieceBytes = 1 << 20

/** Whether an entry has a checksum. 0 is none: so writes `torch.serialization.set_crc32_options(False)`. */
const isSummed = (checksum: number) => checksum !== 0

/** An entry that is stored as it is. */
export class CheckedBytes extends FileBytes {
  #checked: boolean
  #checking: Promise<void> | undefined // however many tensors are views of them

  constructor(
    at: number,
    length: number,
    private readonly name: string,
    private readonly checksum: number,
  ) {
    super(at, length)
    this.#checked = !isSummed(checksum)
  }

  /** For one pass over them. What is read only to be summed up is in `memory`, of {@link pieceBytes}. */
  reading(
    source: ByteSource,
    memory: () => Uint8Array = () => Buffer.alloc(Math.min(pieceBytes, this.length)),
  ) {
    let sum = 0
    let summed = 0 // of the bytes, from the front
    const read: DataReader = async (target, position) => {
      if (this.#checked || position !== summed) return await source.read([target], this.at + position)
      for (let at = 0; at < target.length; at += pieceBytes) {
        const piece = target.subarray(at, at + pieceBytes)
        await source.read([piece], this.at + summed)
        sum = crc32(piece, sum)
        summed += piece.length
      }
    }
    /** Reads what was left out. Once they were found to be right that is not done again. */
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
   * Reads them all.
   *
   * @throws ResidualError CHECKPOINT_INVALID where they are not what they were
   */
  async check(source: ByteSource, memory?: () => Uint8Array): Promise<void> {
    this.#checking ??= this.reading(source, memory).finish()
    await this.#checking
  }
}

/** @throws ResidualError CHECKPOINT_INVALID where `found` is not the checksum of the entry, which may have none */
export function checkSum(source: ByteSource, name: string, found: number, checksum: number): void {
  if (!isSummed(checksum) || found === checksum) return
  const [is, was] = [found, checksum].map(sum => sum.toString(16).padStart(8, '0'))
  throw invalidCheckpoint(source, `'${name}' in it is damaged: its checksum is ${is}, and was ${was}`)
}
