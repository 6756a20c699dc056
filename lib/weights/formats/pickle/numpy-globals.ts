// The numpy names that a pickle may use: arrays, and the types of their numbers.

import { FileBytes, LongText } from '../views/stored-data.ts'
import { denseStrides, maxDimensions, problemOf, TensorView } from '../views/tensor-view.ts'
import { type Caller, Global, Ignored, NumpyArray, NumpyType, Opaque, type Value } from './values.ts'

const types: { readonly [code: string]: string } = {
  f2: 'F16',
  f4: 'F32',
  f8: 'F64',
  i1: 'I8',
  i2: 'I16',
  i4: 'I32',
  i8: 'I64',
  u1: 'U8',
  u2: 'U16',
  u4: 'U32',
  u8: 'U64',
  b1: 'BOOL',
}

const functions: { readonly [name: string]: Global['call'] } = {
  'numpy.ndarray': notCalled,
  'numpy.dtype': makeType,
  // The modules of the same names in numpy 1 and numpy 2.
  'numpy.core.multiarray._reconstruct': () => new NumpyArray(),
  'numpy._core.multiarray._reconstruct': () => new NumpyArray(),
  'numpy.core.multiarray.scalar': () => new Ignored(), // such as an accuracy
  'numpy._core.multiarray.scalar': () => new Ignored(),
  // Protocol 5.
  'numpy.core.numeric._frombuffer': fromBuffer,
  'numpy._core.numeric._frombuffer': fromBuffer,
}

export const numpyGlobals: readonly Global[] = Object.entries(functions).map(
  ([name, call]) => new Global(name, call),
)

/** Applies the state of a `dtype`: `(version, byte order, ...)`. */
export function setTypeState(type: NumpyType, state: Value, caller: Caller): void {
  const order = Array.isArray(state) ? (state as readonly Value[])[1] : undefined
  if (order !== '<' && order !== '>' && order !== '|' && order !== '=')
    throw caller.problem('has a numeric type without a byte order')
  type.swapped = order === '>'
}

/** Applies the state of an `ndarray`: `(version, shape, dtype, whether column-major, bytes)`. */
export function setArrayState(array: NumpyArray, state: Value, caller: Caller): void {
  if (!Array.isArray(state) || state.length !== 5) throw caller.problem('has an array without a state')
  const [, shape, type, columnMajor, data] = state as readonly Value[]
  if (type instanceof Opaque) return
  array.view = dense(shape!, type!, columnMajor === true, data!, caller)
}

/** Weights never have the other types: objects, text, dates. */
function makeType([code]: readonly Value[]): NumpyType | Opaque {
  const dtype = typeof code === 'string' && Object.hasOwn(types, code) ? types[code] : undefined
  if (dtype !== undefined) return new NumpyType(dtype)
  return new Opaque('numpy.dtype', false)
}

/** `(bytes, dtype, shape, 'C' or 'F')` */
function fromBuffer([data, type, shape, order]: readonly Value[], caller: Caller): NumpyArray {
  const array = new NumpyArray()
  if (!(type instanceof Opaque))
    array.view = dense(shape ?? null, type ?? null, order === 'F', data ?? null, caller)
  return array
}

function dense(shape: Value, type: Value, columnMajor: boolean, data: Value, caller: Caller): TensorView {
  if (!(type instanceof NumpyType)) throw caller.problem('has an array without a type')
  if (!Array.isArray(shape) || shape.length > maxDimensions || !shape.every(n => typeof n === 'number'))
    throw caller.problem('has an array without a shape')
  if (!isData(data)) throw caller.problem('has an array without its bytes')
  const strides = denseStrides(shape as number[], columnMajor)
  const view = new TensorView(data, type.dtype, type.swapped, shape as number[], strides, 0)
  const problem = problemOf(view, Number.MAX_SAFE_INTEGER)
  if (problem !== undefined) throw caller.problem(`has an array that ${problem}`)
  const bytes = view.length * view.elementBytes
  if (!canHold(data, bytes))
    throw caller.problem(`has an array of ${bytes} bytes with ${data.length} bytes of data`)
  return view
}

type ArrayData = FileBytes | LongText | string

function isData(value: Value): value is ArrayData {
  return value instanceof FileBytes || value instanceof LongText || typeof value === 'string'
}

/** The length of long UTF-8 text in characters, one per byte, is known only after reading it. */
function canHold(data: ArrayData, bytes: number): boolean {
  if (data instanceof LongText && data.encoding === 'utf8')
    return bytes <= data.length && data.length <= 2 * bytes
  return data.length === bytes
}

function notCalled(_: readonly Value[], caller: Caller): never {
  throw caller.problem('calls a type as a function')
}
