// The pipeline that runs many images through a network: in batches, decoding the next while one runs.
import { setMaxListeners } from 'node:events'
import { wrongType } from './errors.ts'
import { decodersAtOnce } from './image/decoders.ts'
import type { Prepared, View } from './image/preprocess.ts'
import type { OutputName } from './model/plan.ts'
import type { Outputs, RunOptions } from './runtime/session.ts'

/** The result of one image of many. */
export type ImageResult<Name extends OutputName> =
  | (Named & { readonly error: unknown })
  | (Named & {
      /** The part of the image the network saw. */
      readonly view: View
      readonly outputs: Outputs<Name>
      /** The time of its decoding and preprocessing, and its share of the batch's. */
      readonly ms: number
    })

interface Named {
  /** The path or the bytes as given. */
  readonly image: string | Uint8Array
  /** @deprecated The former name of `image`. */
  readonly picture: string | Uint8Array
}

/** Paths, or the bytes of encoded files. They are taken a batch at a time, so there can be any number of them. */
export type Images = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>

/** The network and the preprocessing that the images pass through. */
export interface ImageRunner {
  prepare(image: string | Uint8Array, options: { readonly signal: AbortSignal }): Promise<Prepared>
  run<Name extends OutputName>(pixels: Uint8Array, options: RunOptions<Name>): Promise<Outputs<Name>>
}

export interface EachOptions<Name extends OutputName> {
  readonly batch: number
  readonly outputs: readonly Name[]
  readonly signal: AbortSignal | undefined
}

/**
 * Yields the result of each image, in order; an image that cannot be prepared yields its error, and the rest continue.
 *
 * @throws the signal's reason, or whatever the network or the source of images throws
 */
export async function* eachImage<Name extends OutputName>(
  runner: ImageRunner,
  images: Images,
  { batch, outputs, signal }: EachOptions<Name>,
): AsyncGenerator<ImageResult<Name>> {
  const end = new AbortController() // a consumer that stops early does not want the next batch
  const either = signal ? AbortSignal.any([signal, end.signal]) : end.signal
  setMaxListeners(0, either)
  const source = iteratorOf(images)
  const prepare = (image: string | Uint8Array) => timed(() => runner.prepare(image, { signal: either }))
  const prepareNext = async () => {
    const taken: (string | Uint8Array)[] = []
    while (taken.length < batch && !either.aborted) {
      const next = await source.next()
      if (next.done) break
      taken.push(next.value)
    }
    const attempts = await mapInTurn(taken, decodersAtOnce, prepare)
    return attempts.map((attempt, i) => ({ ...attempt, image: taken[i]! }))
  }
  const begin = () => {
    const attempts = prepareNext()
    attempts.catch(() => {}) // errors are handled once the previous batch is done
    return attempts
  }
  try {
    for (let attempts = await begin(); attempts.length > 0; ) {
      either.throwIfAborted()
      const next = begin()
      yield* runBatch(runner, attempts, outputs, signal)
      attempts = await next
    }
    signal?.throwIfAborted()
  } finally {
    end.abort()
    Promise.resolve(source.return?.()).catch(() => {}) // not awaited: it may be waiting for an image that nobody wants any more
  }
}

interface Attempt extends Timed<Prepared> {
  readonly image: string | Uint8Array
}

async function* runBatch<Name extends OutputName>(
  runner: ImageRunner,
  attempts: readonly Attempt[],
  outputs: readonly Name[],
  signal: AbortSignal | undefined,
): AsyncGenerator<ImageResult<Name>> {
  const prepared = attempts.flatMap(({ value }) => (value ? [value] : []))
  const options = { outputs, ...(signal && { signal }) }
  const run = prepared.length > 0 ? await timed(() => runner.run(joinPixels(prepared), options)) : undefined
  if (run && 'error' in run) throw run.error
  let at = 0
  for (const { image, value, error, ms } of attempts) {
    if (!value) {
      yield { image, picture: image, error }
      continue
    }
    const rows = outputs.map(name => [name, row(run!.value![name], at, prepared.length)])
    at++
    yield {
      image,
      picture: image,
      view: value.view,
      outputs: Object.fromEntries(rows),
      ms: ms + run!.ms / prepared.length,
    }
  }
}

function iteratorOf(images: Images): Iterator<string | Uint8Array> | AsyncIterator<string | Uint8Array> {
  return Symbol.asyncIterator in images ? images[Symbol.asyncIterator]() : images[Symbol.iterator]()
}

/**
 * Returns `value` if it is a source of images. A path and the bytes of one image are iterable too, but they are not sources.
 *
 * @throws TypeError otherwise
 */
export function checkImages(value: unknown): Images {
  const isObject = typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)
  if (isObject && (Symbol.iterator in value || Symbol.asyncIterator in value)) return value as Images
  throw wrongType('an array or another iterable of paths or encoded images', 'images', value)
}

/** `Promise.all(items.map(task))` with at most `atOnce` tasks running. */
async function mapInTurn<T, R>(
  items: readonly T[],
  atOnce: number,
  task: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const queue = items.entries() // shared: each worker takes the next
  const work = async () => {
    for (const [i, item] of queue) results[i] = await task(item)
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return results
}

interface Timed<T> {
  readonly value?: T
  readonly error?: unknown
  readonly ms: number
}

/** Runs `task` and measures its time. */
async function timed<T>(task: () => Promise<T>): Promise<Timed<T>> {
  const begin = performance.now()
  const result = await task().then(
    value => ({ value }),
    (error: unknown) => ({ error }),
  )
  return { ...result, ms: performance.now() - begin }
}

/** Row `index` of a flat matrix of `rows` rows; a view. */
export function row(matrix: Float32Array, index: number, rows: number): Float32Array {
  const length = matrix.length / rows
  return matrix.subarray(index * length, (index + 1) * length)
}

/** Joins preprocessed images into one batch. */
function joinPixels(images: readonly Prepared[]): Uint8Array {
  const length = images[0]!.pixels.length
  const batch = new Uint8Array(length * images.length)
  for (const [i, { pixels }] of images.entries()) batch.set(pixels, i * length)
  return batch
}
