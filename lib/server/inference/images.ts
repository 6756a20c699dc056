// Decoding the images of a request, a few at a time.
import { setMaxListeners } from 'node:events'
import type { TaskLimit } from '../../base/task-limit.ts'
import type { Classifier } from '../../classifier.ts'
import type { Prepared } from '../../image/preprocess.ts'

export class ImageDecoder {
  readonly #limit: TaskLimit
  readonly #maxPixels: number

  /** `limit` bounds how many images are decoded at a time. */
  constructor(limit: TaskLimit, maxPixels: number) {
    this.#limit = limit
    this.#maxPixels = maxPixels
  }

  /**
   * Decodes and preprocesses images.
   *
   * @throws ResidualError DECODE_FAILED, PICTURE_TOO_LARGE for the first that cannot be decoded, QUEUE_FULL, or the signal's
   *   reason
   */
  async prepare(
    classifier: Classifier,
    images: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<Prepared[]> {
    const failure = new AbortController() // the first failure cancels the rest
    const either = AbortSignal.any([signal, failure.signal])
    setMaxListeners(0, either)
    try {
      return await Promise.all(images.map(image => this.prepareOne(classifier, image, either)))
    } catch (error) {
      failure.abort(error)
      throw error
    }
  }

  prepareOne(classifier: Classifier, image: Uint8Array, signal: AbortSignal): Promise<Prepared> {
    // The task does not follow the signal: its slot is free only once the decoding has really ended.
    return this.#limit.run(() => classifier.prepare(image, { maxPixels: this.#maxPixels }), signal)
  }
}
