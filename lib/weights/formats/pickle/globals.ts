// The global names that pickles may use. They only describe data; all others become opaque values.

import { Storage } from '../views/stored-data.ts'
import { numpyGlobals } from './numpy-globals.ts'
import { torchGlobals } from './torch-globals.ts'
import { type Caller, Dict, Global, Ignored, List, NumpyArray, Opaque, type Value } from './values.ts'

const ignored = () => new Ignored()
const first = ([value]: readonly Value[]) => value ?? null

/** Python's own. Protocol 2 writes `__builtin__` for `builtins`. */
const pythonGlobals: { readonly [name: string]: Global['call'] } = {
  'argparse.Namespace': ignored, // the settings of a training, as timm saves them
  'builtins.set': ignored,
  '__builtin__.set': ignored,
  'builtins.tuple': tuple,
  '__builtin__.tuple': tuple,
  'builtins.dict': dictionary,
  '__builtin__.dict': dictionary,
  'builtins.eval': evaluated,
  '__builtin__.eval': evaluated,
  'builtins.bytes': noBytes, // how protocol 2 writes empty bytes
  '__builtin__.bytes': noBytes,
  'collections.OrderedDict': dictionary,
  'collections.defaultdict': () => new Dict(),
  'collections.Counter': ignored, // milestones of a learning rate schedule
  // A byte string in protocol 2: text with one character per byte.
  '_codecs.encode': encode,
  // How newer versions of Paddle save a dense tensor outside of a state dict: as the array itself.
  'paddle.framework.io_utils._reconstruct_dense_tensor_data': first,
}

export const globals: ReadonlyMap<string, Global> = new Map([
  ...Object.entries(pythonGlobals).map(([name, call]): [string, Global] => [name, new Global(name, call)]),
  ...numpyGlobals.map((global): [string, Global] => [global.name, global]),
  ...torchGlobals.map((global): [string, Global] => [global.name, global]),
])

/** A name that is not in the list. */
export function unknownGlobal(name: string): Global {
  return new Global(name, (args, caller) => opaque(name, args, caller))
}

/** The opaque result of calling something unknown. Nothing is actually called. */
export function opaque(name: string, args: readonly Value[], caller: Caller): Opaque {
  caller.spend(args.length) // they may be passed again and again
  return new Opaque(name, /^torch\.\w+\._rebuild_/.test(name) || args.some(holdsStorage))
}

const mostMembers = 16 // of the arguments of a call that makes a tensor

function holdsStorage(value: Value): boolean {
  const members = Array.isArray(value) ? (value as readonly Value[]).slice(0, mostMembers) : [value]
  return members.some(member => member instanceof Storage)
}

function dictionary([pairs]: readonly Value[], caller: Caller): Dict {
  if (pairs === undefined) return new Dict()
  if (pairs instanceof Dict) return pairs
  const dict = new Dict()
  const items = pairs instanceof List ? pairs.items : pairs
  if (!Array.isArray(items)) throw caller.problem('makes a dictionary from something that is not a list')
  caller.spend(items.length) // the list may be passed again and again
  for (const pair of items as readonly Value[]) {
    const [key, value] = (pair instanceof List ? pair.items : Array.isArray(pair) ? pair : []) as Value[]
    if (key === undefined || value === undefined)
      throw caller.problem('makes a dictionary from items that are not pairs')
    dict.set(key, value)
  }
  return dict
}

function tuple([items]: readonly Value[], caller: Caller): Value {
  if (items instanceof List) return items.items
  if (!Array.isArray(items)) throw caller.problem('makes a tuple from something that is not a list')
  return items
}

function encode([text, encoding = 'utf-8']: readonly Value[], caller: Caller): Value {
  if (encoding !== 'latin1') throw caller.problem('has bytes in an encoding other than latin1')
  return text ?? null // text with one character per byte, so it stands for the bytes
}

/**
 * How Paddle saves a tensor of a static graph: `eval('data', {'data': array})`. The result is the array; any other text is
 * refused unread.
 */
function evaluated([text, names, ...others]: readonly Value[], caller: Caller): Value {
  const array = names instanceof Dict && names.entries?.size === 1 ? names.entries.get('data') : undefined
  if (text === 'data' && array instanceof NumpyArray && others.length === 0) return array
  throw caller.problem('calls eval on something other than an array; nothing from a file is executed')
}

function noBytes(args: readonly Value[], caller: Caller): Value {
  if (args.length > 0) throw caller.problem('calls bytes with arguments')
  return ''
}
