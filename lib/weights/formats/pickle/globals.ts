// The global names that pickles may use. They only describe data; all others become opaque values.

import { Storage } from '../views/stored-data.ts'
import { numpyGlobals } from './numpy-globals.ts'
import { torchGlobals } from './torch-globals.ts'
import { type Caller, Dict, Global, Ignored, List, NumpyArray, Opaque, type Value } from './values.ts'

const ignored = () => new Ignored()
const first = ([value]: readonly Value[]) => value ?? null

/** Python's own. Protocol 2 says `__builtin__` for `builtins`. */
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
  'builtins.bytes': noBytes, // protocol 2 has no other word for no bytes at all
  '__builtin__.bytes': noBytes,
  'collections.OrderedDict': dictionary,
  'collections.defaultdict': () => new Dict(),
  'collections.Counter': ignored, // the milestones of a learning rate's schedule
  // A byte string in protocol 2: text with a character for each byte.
  '_codecs.encode': encode,
  // How newer Paddles save a dense tensor that is in no state dict: the array itself.
  'paddle.framework.io_utils._reconstruct_dense_tensor_data': first,
}

export const globals: ReadonlyMap<string, Global> = new Map([
  ...Object.entries(pythonGlobals).map(([name, call]): [string, Global] => [name, new Global(name, call)]),
  ...numpyGlobals.map((global): [string, Global] => [global.name, global]),
  ...torchGlobals.map((global): [string, Global] => [global.name, global]),
])

/** A name that is not among them. */
export function unknownGlobal(name: string): Global {
  return new Global(name, (args, caller) => opaque(name, args, caller))
}

/** What calling something unknown gives, which is not done. */
export function opaque(name: string, args: readonly Value[], caller: Caller): Opaque {
  caller.spend(args.length) // they may be given again and again
  return new Opaque(name, /^torch\.\w+\._rebuild_/.test(name) || args.some(holdsStorage))
}

const mostMembers = 16 // of the arguments of what makes a tensor

function holdsStorage(value: Value): boolean {
  const members = Array.isArray(value) ? (value as readonly Value[]).slice(0, mostMembers) : [value]
  return members.some(member => member instanceof Storage)
}

function dictionary([pairs]: readonly Value[], caller: Caller): Dict {
  if (pairs === undefined) return new Dict()
  if (pairs instanceof Dict) return pairs
  const dict = new Dict()
  const items = pairs instanceof List ? pairs.items : pairs
  if (!Array.isArray(items)) throw caller.problem('makes a dictionary of something that is none')
  caller.spend(items.length) // the list may be given again and again
  for (const pair of items as readonly Value[]) {
    const [key, value] = (pair instanceof List ? pair.items : Array.isArray(pair) ? pair : []) as Value[]
    if (key === undefined || value === undefined)
      throw caller.problem('makes a dictionary of what are not pairs')
    dict.set(key, value)
  }
  return dict
}

function tuple([items]: readonly Value[], caller: Caller): Value {
  if (items instanceof List) return items.items
  if (!Array.isArray(items)) throw caller.problem('makes a tuple of something that is no list')
  return items
}

function encode([text, encoding = 'utf-8']: readonly Value[], caller: Caller): Value {
  if (encoding !== 'latin1') throw caller.problem('has bytes in an encoding other than latin1')
  return text ?? null // it is text of one character for each byte, and so taken for the bytes
}

/** How Paddle saves a tensor of a static graph: `eval('data', {'data': array})`. That is the array; all other text is refused unread. */
function evaluated([text, names, ...others]: readonly Value[], caller: Caller): Value {
  const array = names instanceof Dict && names.entries?.size === 1 ? names.entries.get('data') : undefined
  if (text === 'data' && array instanceof NumpyArray && others.length === 0) return array
  throw caller.problem('asks for eval of something other than an array; nothing from a file is executed')
}

function noBytes(args: readonly Value[], caller: Caller): Value {
  if (args.length > 0) throw caller.problem('makes bytes of something')
  return ''
}
