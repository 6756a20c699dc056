// The way of many pictures through a network: in batches, the next one decoded while one runs.
import { setMaxListeners } from 'node:events'
import { wrongType } from './errors.ts'
import { decodersAtOnce } from './image/decoders.ts'
import type { Prepared, View } from './image/preprocess.ts'
import type { OutputName } from './model/plan.ts'
import type { Outputs, RunOptions } from './runtime/session.ts'

/** What came of one picture of many. */
export type PictureResult<Name extends OutputName> =
  | { readonly picture: string | Uint8Array; readonly error: unknown }
  | {
      readonly picture: string | Uint8Array
      /** The part of the picture the network saw. */
      readonly view: View
      readonly outputs: Outputs<Name>
      /** Its own decoding and preprocessing, and its share of the time the batch took. */
      readonly ms: number
    }

/** Paths, or the bytes of encoded files. Taken one batch after another, so that there may be any number of them. */
export type Pictures = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>

/** What the pictures pass through. */
export interface PictureRunner {
  prepare(picture: string | Uint8Array, options: { readonly signal: AbortSignal }): Promise<Prepared>
  run<Name extends OutputName>(pixels: Uint8Array, options: RunOptions<Name>): Promise<Outputs<Name>>
}

export interface EachOptions<Name extends OutputName> {
  readonly batch: number
  readonly outputs: readonly Name[]
  readonly signal: AbortSignal | undefined
}

/**
 * Yields what came of each picture, in order; a picture that cannot be prepared yields its error, and the rest goes on.
 *
 * @throws the signal's reason, what the network throws, or the source of the pictures
 */
export async function* eachPicture<Name extends OutputName>(
  runner: PictureRunner,
  pictures: Pictures,
  { batch, outputs, signal }: EachOptions<Name>,
): AsyncGenerator<PictureResult<Name>> {
  const end = new AbortController() // whoever stops listening does not want the next batch
  const either = signal ? AbortSignal.any([signal, end.signal]) : end.signal
  setMaxListeners(0, either)
  const source = iteratorOf(pictures)
  const prepare = (picture: string | Uint8Array) => timed(() => runner.prepare(picture, { signal: either }))
  const prepareNext = async () => {
    const taken: (string | Uint8Array)[] = []
    while (taken.length < batch && !either.aborted) {
      const next = await source.next()
      if (next.done) break
      taken.push(next.value)
    }
    const attempts = await mapInTurn(taken, decodersAtOnce, prepare)
    return attempts.map((attempt, i) => ({ ...attempt, picture: taken[i]! }))
  }
  const begin = () => {
    const attempts = prepareNext()
    attempts.catch(() => {}) // it is looked at when the batch before it is done
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
    Promise.resolve(source.return?.()).catch(() => {}) // not awaited: it may be waiting for a picture that is no longer wanted
  }
}

interface Attempt extends Timed<Prepared> {
  readonly picture: string | Uint8Array
}

async function* runBatch<Name extends OutputName>(
  runner: PictureRunner,
  attempts: readonly Attempt[],
  outputs: readonly Name[],
  signal: AbortSignal | undefined,
): AsyncGenerator<PictureResult<Name>> {
  const prepared = attempts.flatMap(({ value }) => (value ? [value] : []))
  const options = { outputs, ...(signal && { signal }) }
  const run = prepared.length > 0 ? await timed(() => runner.run(joinPixels(prepared), options)) : undefined
  if (run && 'error' in run) throw run.error
  let at = 0
  for (const { picture, value, error, ms } of attempts) {
    if (!value) {
      yield { picture, error }
      continue
    }
    const rows = outputs.map(name => [name, row(run!.value![name], at, prepared.length)])
    at++
    yield {
      picture,
      view: value.view,
      outputs: Object.fromEntries(rows),
      ms: ms + run!.ms / prepared.length,
    }
  }
}

function iteratorOf(pictures: Pictures): Iterator<string | Uint8Array> | AsyncIterator<string | Uint8Array> {
  return Symbol.asyncIterator in pictures ? pictures[Symbol.asyncIterator]() : pictures[Symbol.iterator]()
}

/**
 * Returns `value` if pictures can be taken from it. A path and the bytes of one picture can be iterated, but hold none.
 *
 * @throws TypeError otherwise
 */
export function checkPictures(value: unknown): Pictures {
  const isObject = typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)
  if (isObject && (Symbol.iterator in value || Symbol.asyncIterator in value)) return value as Pictures
  throw wrongType('an array or another iterable of paths or encoded pictures', 'pictures', value)
}

/** `Promise.all` of `items.map(task)` with at most `atOnce` tasks under way. */
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

/** Settles `task` and measures how long that took. */
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

/** Puts preprocessed pictures together to one batch. */
function joinPixels(pictures: readonly Prepared[]): Uint8Array {
  const length = pictures[0]!.pixels.length
  const batch = new Uint8Array(length * pictures.length)
  for (const [i, { pixels }] of pictures.entries()) batch.set(pixels, i * length)
  return batch
}
