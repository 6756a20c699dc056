// The parts of requests that run in one batch: joined before it, results split after it.
import { isUint8Array } from 'node:util/types'
import type { OutputName } from '../../model/plan.ts'
import type { Outputs } from '../session.ts'

export type Pixels = Uint8Array | Float32Array

/** A request that is queued or running. */
export interface Job {
  readonly pixels: Pixels
  readonly images: number
  readonly outputs: readonly OutputName[]
  readonly arrived: number
  /** Images that have been put into a batch. */
  taken: number
  /** Images with results. */
  done: number
  /** When its first batch started. */
  started: number
  readonly results: Map<OutputName, Float32Array<ArrayBuffer>>
  readonly resolve: (answer: BatchAnswer<OutputName>) => void
  readonly reject: (error: unknown) => void
}

/** Images `[from, to)` of a job, all in one batch. */
export interface Part {
  readonly job: Job
  readonly from: number
  readonly to: number
}

/** The images of a batch in one array: a view if they are from one request, else a copy. */
export function joined(parts: readonly Part[], images: number, perImage: number): Pixels {
  const pixelsOf = ({ job, from, to }: Part) => job.pixels.subarray(from * perImage, to * perImage)
  const [first] = parts as [Part]
  if (parts.length === 1) return pixelsOf(first)
  const length = images * perImage
  const batch = isUint8Array(first.job.pixels) ? new Uint8Array(length) : new Float32Array(length)
  let at = 0
  for (const part of parts) {
    batch.set(pixelsOf(part), at * perImage)
    at += part.to - part.from
  }
  return batch
}

/**
 * Copies a part's rows, which start at image `at` of the batch's `images`, to its request, and answers that once it is complete.
 */
export function answer(
  { job, from, to }: Part,
  outputs: Outputs<OutputName>,
  { at, images }: { readonly at: number; readonly images: number },
  ended: number,
): void {
  for (const name of job.outputs) {
    const perImage = outputs[name].length / images
    const rows = outputs[name].subarray(at * perImage, (at + to - from) * perImage)
    let result = job.results.get(name)
    if (!result) {
      result = new Float32Array(job.images * perImage)
      job.results.set(name, result)
    }
    result.set(rows, from * perImage)
  }
  job.done += to - from
  if (job.done < job.images) return
  const { arrived, started } = job
  job.resolve({
    outputs: Object.fromEntries(job.results) as Outputs<OutputName>,
    queueMs: started - arrived,
    computeMs: ended - started,
  })
}

export interface BatchAnswer<Name extends OutputName> {
  readonly outputs: Outputs<Name>
  /** From the request to the start of its first batch. */
  readonly queueMs: number
  /** From there to the end of its last batch. */
  readonly computeMs: number
}
