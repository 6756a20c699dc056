// Staging memory between file and backend, reused by one operation after another.
import { ResidualError } from '../errors.ts'

export class Staging {
  #memory: Uint8Array<ArrayBuffer> = new Uint8Array(0)

  /** `usualBytes` are what most will need at most: allocated at the first use, and touched as far as they are used. */
  constructor(private readonly usualBytes: number) {}

  /**
   * Memory for the weights of `name`, until the next call; it begins where every type is aligned.
   *
   * @throws ResidualError OUT_OF_MEMORY
   */
  take(bytes: number, name: string): Uint8Array<ArrayBuffer> {
    if (bytes > this.#memory.length) {
      try {
        this.#memory = new Uint8Array(Math.max(bytes, this.usualBytes))
      } catch (cause) {
        const problem = `The weights of '${name}' take ${bytes} bytes, more than can be had`
        throw new ResidualError('OUT_OF_MEMORY', `${problem}.`, { cause })
      }
    }
    return this.#memory.subarray(0, bytes)
  }
}
