// The PyTorch names that a pickle may use: storages, tensors that view them, and types.

import { Storage } from '../views/stored-data.ts'
import { problemOf, TensorView } from '../views/tensor-view.ts'
import { type Caller, Global, Ignored, Opaque, type Value } from './values.ts'

const storages: { readonly [type: string]: string } = {
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  DoubleStorage: 'F64',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
}

const types: { readonly [type: string]: string } = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  float64: 'F64',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint8: 'U8',
  uint16: 'U16',
  uint32: 'U32',
  uint64: 'U64',
  bool: 'BOOL',
  float8_e4m3fn: 'F8_E4M3',
  float8_e5m2: 'F8_E5M2',
}

const functions: { readonly [name: string]: Global['call'] } = {
  'torch._utils._rebuild_tensor': rebuildTensor,
  'torch._utils._rebuild_tensor_v2': rebuildTensor,
  'torch._utils._rebuild_tensor_v3': rebuildTypedTensor,
  'torch._utils._rebuild_parameter': ([tensor]) => tensor ?? null,
  'torch._utils._rebuild_parameter_with_state': ([tensor]) => tensor ?? null,
  'torch._tensor._rebuild_from_type_v2': rebuildFromType,
  'torch.Size': ([sizes]) => sizes ?? null,
  'torch.device': () => new Ignored(),
  'torch.Tensor': notCalled, // these two only occur as arguments of _rebuild_from_type_v2
  'torch.nn.parameter.Parameter': notCalled,
}

const storageTypes = { ...storages, UntypedStorage: 'U8' }

export const torchGlobals: readonly Global[] = [
  ...Object.entries(functions).map(([name, call]) => new Global(name, call)),
  ...Object.entries(types).map(([type, dtype]) => new Global(`torch.${type}`, notCalled, dtype)),
  ...['torch', 'torch.storage', 'torch.cuda'].flatMap(module =>
    Object.entries(storageTypes).map(([type, dtype]) => new Global(`${module}.${type}`, notCalled, dtype)),
  ),
]

/** Resolves a persistent id of PyTorch: a storage, or in old files a module's class with its source code. */
export function persistentOf(id: Value): Value | undefined {
  if (!Array.isArray(id)) return undefined
  const [kind, type] = id as readonly Value[]
  if (!(type instanceof Global)) return undefined
  if (kind === 'storage' && type.dtype === undefined) return new Opaque(type.name, true) // such as complex numbers
  return kind === 'module' ? type : storageOf(id)
}

/**
 * The storage of a persistent id: `('storage', torch.FloatStorage, key, device, numel)`, followed by a view of it in old files.
 */
export function storageOf(id: Value): Storage | undefined {
  if (!Array.isArray(id)) return undefined
  const [kind, type, key, , length, view = null] = id as readonly Value[]
  if (kind !== 'storage' || !(type instanceof Global) || type.dtype === undefined || view !== null)
    return undefined
  if (typeof key !== 'string' || typeof length !== 'number') return undefined
  return Number.isSafeInteger(length) && length >= 0 ? new Storage(key, type.dtype, length) : undefined
}

function notCalled(_: readonly Value[], caller: Caller): never {
  throw caller.problem('calls a type as a function')
}

/** `(storage, offset, size, stride, ...)` */
function rebuildTensor(
  [storage, offset, size, stride]: readonly Value[],
  caller: Caller,
): TensorView | Opaque {
  if (storage instanceof Opaque) return new Opaque(storage.name, true)
  if (!(storage instanceof Storage)) throw caller.problem('has a tensor without a storage')
  return checked(storage, storage.dtype, storage.length, [offset, size, stride], caller)
}

/** `(storage, offset, size, stride, requires_grad, hooks, dtype)`, with an untyped storage. */
function rebuildTypedTensor(args: readonly Value[], caller: Caller): TensorView | Opaque {
  const [storage, offset, size, stride, , , type] = args
  if (storage instanceof Opaque) return new Opaque(storage.name, true)
  if (!(storage instanceof Storage)) throw caller.problem('has a tensor without a storage')
  if (!(type instanceof Global) || type.dtype === undefined)
    throw caller.problem('has a tensor without a type')
  const view = new TensorView(storage, type.dtype, false, [], [], 0)
  const numbers = Math.floor(storage.length / view.elementBytes)
  return checked(storage, type.dtype, numbers, [offset, size, stride], caller)
}

/** `(function, type, arguments, state)`: how tensors with attributes are saved. */
function rebuildFromType([callable, , args]: readonly Value[], caller: Caller): Value {
  const known = callable instanceof Global && callable.name.startsWith('torch._utils.')
  if (!known || !Array.isArray(args)) throw caller.problem('has a tensor of an unknown kind')
  return callable.call(args as readonly Value[], caller)
}

function checked(
  storage: Storage,
  dtype: string,
  numbers: number,
  [offset, shape, strides]: readonly (Value | undefined)[],
  caller: Caller,
): TensorView {
  if (typeof offset !== 'number' || !Array.isArray(shape) || !Array.isArray(strides))
    throw caller.problem('has a tensor without sizes or strides')
  const view = new TensorView(storage, dtype, false, shape as number[], strides as number[], offset)
  const problem = problemOf(view, numbers)
  if (problem !== undefined) throw caller.problem(`has a tensor that ${problem}`)
  return view
}
