// Staging memory between file and backend, reused by one operation after another.
import { ResidualError } from '../errors.ts'

export class Staging {
  #memory: Uint8Array<ArrayBuffer> = new Uint8Array(0)

  /** `usualBytes` is enough for most operations: allocated at first use, and touched only as far as it is used. */
  constructor(private readonly usualBytes: number) {}

  /**
   * Memory for the weights of `name`, valid until the next call and aligned for every type.
   *
   * @throws ResidualError OUT_OF_MEMORY
   */
  take(bytes: number, name: string): Uint8Array<ArrayBuffer> {
    if (bytes > this.#memory.length) {
      try {
        this.#memory = new Uint8Array(Math.max(bytes, this.usualBytes))
      } catch (cause) {
        const problem = `The weights of '${name}' need ${bytes} bytes, more than is available`
        throw new ResidualError('OUT_OF_MEMORY', `${problem}.`, { cause })
      }
    }
    return this.#memory.subarray(0, bytes)
  }
}
