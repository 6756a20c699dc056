// A model's statistics since the server started, for Triton's `statistics` extension.
import type { Done } from '../protocol/request.ts'

/** A count and a total duration. */
export interface Duration {
  readonly count: number
  readonly ns: number
}

/** An accumulating duration. */
class Total {
  #count = 0
  #ms = 0

  add(ms: number): void {
    this.#count++
    this.#ms += ms
  }

  get value(): Duration {
    return { count: this.#count, ns: Math.round(this.#ms * 1e6) }
  }
}

/** For things that are not measured or do not exist here. */
const none: Duration = { count: 0, ns: 0 }

export class ModelStatistics {
  #lastInference = 0
  #images = 0
  #batches = 0
  readonly #success = new Total()
  readonly #fail = new Total()
  readonly #queue = new Total()
  readonly #input = new Total()
  readonly #infer = new Total()
  /** By batch size. */
  readonly #bySize = new Map<number, Total>()

  /** Records a batch that has run. */
  batch({ images, computeMs }: { readonly images: number; readonly computeMs: number }): void {
    this.#batches++
    const total = this.#bySize.get(images) ?? new Total()
    this.#bySize.set(images, total)
    total.add(computeMs)
  }

  /** Records a request that was answered `ms` after its arrival. */
  succeeded(ms: number, { images, timings }: Done): void {
    this.#lastInference = Date.now()
    this.#images += images
    this.#success.add(ms)
    this.#queue.add(timings.queueMs)
    this.#input.add(timings.decodeMs)
    this.#infer.add(timings.computeMs)
  }

  /** Records a request that was refused or failed after `ms`. */
  failed(ms: number): void {
    this.#fail.add(ms)
  }

  /** `ModelStatistics` without a name; decoding counts as `compute_input`, and writing answers is not measured. */
  get value() {
    const sizes = [...this.#bySize].sort(([a], [b]) => a - b)
    return {
      last_inference: this.#lastInference,
      inference_count: this.#images,
      execution_count: this.#batches,
      inference_stats: {
        success: this.#success.value,
        fail: this.#fail.value,
        queue: this.#queue.value,
        compute_input: this.#input.value,
        compute_infer: this.#infer.value,
        compute_output: none,
        cache_hit: none,
        cache_miss: none,
      },
      batch_stats: sizes.map(([size, { value }]) => ({
        batch_size: size,
        compute_input: none,
        compute_infer: value,
        compute_output: none,
      })),
    }
  }
}
