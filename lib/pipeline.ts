// How do many pictures pass through a network? In batches, the next one decoded while one runs.
import { checkInteger } from './errors.ts'
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

/** What the pictures pass through. */
export interface PictureRunner {
  prepare(picture: string | Uint8Array): Promise<Prepared>
  run<Name extends OutputName>(pixels: Uint8Array, options: RunOptions<Name>): Promise<Outputs<Name>>
}

/** As many as Node has threads for it. More would wait, holding what they have decoded. */
const decodersAtOnce = 4

/** Yields what came of each picture, in order; a picture that cannot be prepared yields its error, and the rest goes on. */
export async function* eachPicture<Name extends OutputName>(
  runner: PictureRunner,
  pictures: readonly (string | Uint8Array)[],
  { batch, outputs }: { readonly batch: number; readonly outputs: readonly Name[] },
): AsyncGenerator<PictureResult<Name>> {
  checkInteger('batch', batch, 1)
  const prepareFrom = (begin: number) =>
    mapInTurn(pictures.slice(begin, begin + batch), decodersAtOnce, picture =>
      timed(() => runner.prepare(picture)),
    )
  let next = prepareFrom(0)
  for (let begin = 0; begin < pictures.length; begin += batch) {
    const attempts = await next
    next = prepareFrom(begin + batch)
    const prepared = attempts.flatMap(({ value }) => (value ? [value] : []))
    const run =
      prepared.length > 0 ? await timed(() => runner.run(joinPixels(prepared), { outputs })) : undefined
    if (run?.error) throw run.error
    let at = 0
    for (const [i, { value, error, ms }] of attempts.entries()) {
      const picture = pictures[begin + i]!
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

/** Settles `task` and measures how long that took. */
async function timed<T>(task: () => Promise<T>): Promise<{ value?: T; error?: unknown; ms: number }> {
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
