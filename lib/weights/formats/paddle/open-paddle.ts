// Opening what paddle.save writes: one pickle, a dictionary of numpy arrays.
import type { ResidualError } from '../../../errors.ts'
import { closingOnError } from '../../../files/closing-on-error.ts'
import { invalidCheckpoint, refusedCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import { type ByteSource, openCheckpointFile } from '../../checkpoint/checkpoint-file.ts'
import { readPickle } from '../pickle/read-pickle.ts'
import { findTensors } from '../pickle/tensors.ts'
import { Dict, List, NumpyArray, type Value } from '../pickle/values.ts'
import { JoinedData, type StoredData } from '../views/stored-data.ts'
import { denseStrides, problemOf, TensorView } from '../views/tensor-view.ts'
import { ViewCheckpoint } from '../views/view-checkpoint.ts'
import { paddleHeadBytes, unnamedPaddle } from './unnamed.ts'

/** Protocols 2 and 3 save an array of 2^30 bytes or more in pieces; this key lists them. */
const piecesKey = 'UnpackBigParamInfor@@'

/** Whether a file that begins like this may be Paddle's: a pickle of protocol 2 or later, or a format that is refused by name. */
export function looksLikePaddle(head: Uint8Array): boolean {
  return (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) || unnamedPaddle(head) !== undefined
}

/**
 * Opens a `.pdparams` file. Close it after use.
 *
 * @throws ResidualError FILE_NOT_FOUND, CHECKPOINT_INVALID
 */
export async function openPaddle(path: string): Promise<ViewCheckpoint> {
  return readPaddle(await openCheckpointFile(path, 'Paddle'))
}

/** Like {@link openPaddle}, from an open file, which is closed if it is not such a file. */
export function readPaddle(file: ByteSource): Promise<ViewCheckpoint> {
  return closingOnError(file, async source => {
    const head = new Uint8Array(Math.min(source.size, paddleHeadBytes))
    await source.read([head], 0)
    const unnamed = unnamedPaddle(head)
    if (unnamed !== undefined) throw refusedCheckpoint(source, unnamed)
    const pickle = await readPickle(source, () => undefined)
    const fail = (problem: string) => invalidCheckpoint(source, problem)
    if (pickle.end !== source.size) throw fail(`${source.size - pickle.end} bytes follow its pickle`)
    joinPieces(pickle.value, fail)
    const { views, metadata } = findTensors(pickle, source)
    const found = new Map(
      [...views].map(([name, view]) => [name, view.in(view.data as StoredData, view.swapped, typeOf(view))]),
    )
    return new ViewCheckpoint(source, 'Paddle (pickle)', found, metadata)
  })
}

/** numpy has no bfloat16: Paddle saves the bits as uint16. */
function typeOf({ dtype }: TensorView): string {
  return dtype === 'U16' ? 'BF16' : dtype
}

type Fail = (problem: string) => ResidualError

/** `{piecesKey: {name: {OriginShape: (...), slices: [name@@.0, ...]}}}`: the pieces, flat, make up the array `name`. */
function joinPieces(root: Value, fail: Fail): void {
  const all = root instanceof Dict ? root.entries : undefined
  const info = all?.get(piecesKey)
  if (!all || info === undefined) return
  if (!(info instanceof Dict)) throw fail(`its '${piecesKey}' is not a dictionary`)
  for (const [name, entry] of info.entries ?? []) {
    const { shape, slices } = described(entry, fail)
    const pieces = slices.map(slice => {
      const piece = typeof slice === 'string' ? all.get(slice) : undefined
      if (!(piece instanceof NumpyArray && piece.view))
        throw fail(`it has no piece '${String(slice)}' of '${name}'`)
      all.delete(slice as string) // each is used once: however often it is named, no more is read than the file has
      return piece.view
    })
    const array = new NumpyArray()
    array.view = joined(`${name}`, shape, pieces, fail)
    all.set(name, array)
  }
  all.delete(piecesKey)
}

function described(entry: Value, fail: Fail): { shape: number[]; slices: readonly Value[] } {
  const [shape, slices] = ['OriginShape', 'slices'].map(key =>
    entry instanceof Dict ? entry.entries?.get(key) : undefined,
  )
  const sizes = shape instanceof List ? shape.items : shape
  if (!Array.isArray(sizes) || !sizes.every(n => typeof n === 'number') || !(slices instanceof List))
    throw fail(`its '${piecesKey}' does not list shapes and pieces`)
  return { shape: sizes as number[], slices: slices.items }
}

function joined(name: string, shape: number[], pieces: readonly TensorView[], fail: Fail): TensorView {
  const [first] = pieces
  if (
    !first ||
    pieces.some(
      ({ dtype, swapped, shape }) => dtype !== first.dtype || swapped !== first.swapped || shape.length !== 1,
    )
  )
    throw fail(`the pieces of '${name}' are not flat arrays of one type`)
  const parts = pieces.map(piece => ({
    data: piece.data as StoredData,
    bytes: piece.length * piece.elementBytes,
  }))
  const numbers = pieces.reduce((sum, { length }) => sum + length, 0)
  const view = new TensorView(
    new JoinedData(parts),
    first.dtype,
    first.swapped,
    shape,
    denseStrides(shape),
    0,
  )
  const problem =
    problemOf(view, numbers) ?? (view.length === numbers ? undefined : `has pieces of ${numbers} elements`)
  if (problem !== undefined) throw fail(`'${name}' ${problem}`)
  return view
}
