// A model's statistics since the server started, for Triton's `statistics` extension.
import type { Done } from '../protocol/request.ts'

/** How often, and how long in all. */
export interface Duration {
  readonly count: number
  readonly ns: number
}

/** A duration that grows. */
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

/** Of what is not measured, or there is not. */
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
  /** By the images in a batch: as many as there are sizes, at most. */
  readonly #bySize = new Map<number, Total>()

  /** A batch that has run. */
  batch({ images, computeMs }: { readonly images: number; readonly computeMs: number }): void {
    this.#batches++
    const total = this.#bySize.get(images) ?? new Total()
    this.#bySize.set(images, total)
    total.add(computeMs)
  }

  /** A request that was answered, `ms` after it came. */
  succeeded(ms: number, { images, timings }: Done): void {
    this.#lastInference = Date.now()
    this.#images += images
    this.#success.add(ms)
    this.#queue.add(timings.queueMs)
    this.#input.add(timings.decodeMs)
    this.#infer.add(timings.computeMs)
  }

  /** A request that was refused, or not done, after `ms`. */
  failed(ms: number): void {
    this.#fail.add(ms)
  }

  /** `ModelStatistics` without a name; decoding is `compute_input`, and what writing answers takes is not measured. */
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
