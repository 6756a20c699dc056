// The opcodes of pickles, as listed in CPython's Lib/pickletools.py.

import { FileBytes, LongText } from '../views/stored-data.ts'
import { maxTextBytes } from './input.ts'
import type { Machine } from './machine.ts'
import { setArrayState, setTypeState } from './numpy-globals.ts'
import { Dict, Ignored, List, NumpyArray, NumpyType, Opaque, type Value } from './values.ts'

type Operation = (machine: Machine) => void

/** By opcode. All others are refused. */
export const operations: { readonly [code: number]: Operation } = byCode({
  '\x80': m => void m.input.uint(1), // PROTO: a newer protocol has opcodes that are refused anyway
  '\x95': m => void m.input.uint64(), // FRAME: only a hint for buffering
  '(': m => m.mark(),
  '0': m => void m.pop(),
  '1': m => void m.popToMark(),
  '2': m => m.push(m.top()),

  N: m => m.push(null),
  '\x88': m => m.push(true),
  '\x89': m => m.push(false),
  J: m => m.push(m.input.int32()),
  K: m => m.push(m.input.uint(1)),
  M: m => m.push(m.input.uint(2)),
  '\x8a': m => m.push(m.input.long(m.input.uint(1))),
  G: m => m.push(m.input.double()),
  X: m => m.push(text(m, m.input.uint(4), 'utf8')),
  '\x8c': m => m.push(text(m, m.input.uint(1), 'utf8')),
  '\x8d': m => m.push(text(m, m.input.uint64(), 'utf8')),
  U: m => m.push(text(m, m.input.uint(1), 'latin1')),
  T: m => m.push(text(m, m.input.uint(4), 'latin1')),
  C: m => m.push(bytes(m, m.input.uint(1))),
  B: m => m.push(bytes(m, m.input.uint(4))),
  '\x8e': m => m.push(bytes(m, m.input.uint64())),
  '\x96': m => m.push(bytes(m, m.input.uint64())),

  ')': m => m.push(nothing),
  t: m => m.push(m.popToMark()),
  '\x85': m => m.push(m.popMany(1)),
  '\x86': m => m.push(m.popMany(2)),
  '\x87': m => m.push(m.popMany(3)),
  ']': m => m.push(new List()),
  a: m => append(m, m.popMany(1)),
  e: m => append(m, m.popToMark()),
  '}': m => m.push(new Dict()),
  s: m => setItems(m, m.popMany(2)),
  u: m => setItems(m, m.popToMark()),
  '\x8f': m => m.push(new Ignored()), // EMPTY_SET
  '\x90': m => append(m, m.popToMark()), // ADDITEMS
  '\x91': m => {
    // FROZENSET
    m.popToMark()
    m.push(new Ignored())
  },

  q: m => m.remember(m.input.uint(1)),
  r: m => m.remember(m.input.uint(4)),
  '\x94': m => m.remember(),
  h: m => m.recall(m.input.uint(1)),
  j: m => m.recall(m.input.uint(4)),

  c: m => {
    const module = m.input.line()
    m.push(m.global(module, m.input.line()))
  },
  '\x93': m => {
    const [module, name] = m.popMany(2) as [Value, Value]
    m.push(m.global(module, name))
  },
  R: call,
  '\x81': call, // NEWOBJ
  '\x92': m => {
    // NEWOBJ_EX, with arguments by name
    const [callable, args] = m.popMany(3) as [Value, Value, Value]
    m.push(m.call(callable, args))
  },
  b: build,
  Q: m => m.push(m.fromPersistent(m.pop())),
  '.': m => {
    m.stopped = true
  },
})

/** Names of the refused opcodes: those of protocol 0, for extensions, and for out-of-band buffers. */
export const refusedOpcodes: { readonly [code: number]: string } = byCode({
  I: 'INT',
  L: 'LONG',
  F: 'FLOAT',
  S: 'STRING',
  V: 'UNICODE',
  l: 'LIST',
  d: 'DICT',
  p: 'PUT',
  g: 'GET',
  i: 'INST',
  o: 'OBJ',
  P: 'PERSID',
  '\x82': 'EXT1',
  '\x83': 'EXT2',
  '\x84': 'EXT4',
  '\x8b': 'LONG4',
  '\x97': 'NEXT_BUFFER',
  '\x98': 'READONLY_BUFFER',
})

const nothing: readonly Value[] = []

function byCode<T>(table: { readonly [opcode: string]: T }): { readonly [code: number]: T } {
  return Object.fromEntries(Object.entries(table).map(([opcode, entry]) => [opcode.charCodeAt(0), entry]))
}

function text({ input }: Machine, length: number, encoding: 'utf8' | 'latin1'): Value {
  if (length <= maxTextBytes) return input.text(length, encoding)
  return new LongText(input.skip(length), length, encoding)
}

function bytes({ input }: Machine, length: number): FileBytes {
  return new FileBytes(input.skip(length), length)
}

function append(machine: Machine, items: readonly Value[]): void {
  const list = machine.top()
  if (list instanceof List) for (const item of items) list.items.push(item)
  else if (!(list instanceof Ignored)) throw machine.problem('appends to something that is not a list')
}

function setItems(machine: Machine, items: readonly Value[]): void {
  const dict = machine.top()
  if (items.length % 2 !== 0) throw machine.problem('sets a key without a value')
  const entries = dict instanceof Opaque ? dict.items : dict
  if (entries instanceof Dict) for (let i = 0; i < items.length; i += 2) entries.set(items[i]!, items[i + 1]!)
  else if (!(dict instanceof Ignored))
    throw machine.problem('sets items of something that is not a dictionary')
}

function call(machine: Machine): void {
  const [callable, args] = machine.popMany(2) as [Value, Value]
  machine.push(machine.call(callable, args))
}

/** Python would set attributes. Here only numpy's objects have a state; a dictionary's attributes are dropped. */
function build(machine: Machine): void {
  const state = machine.pop()
  const object = machine.top()
  if (object instanceof NumpyType) setTypeState(object, state, machine)
  else if (object instanceof NumpyArray) setArrayState(object, state, machine)
  else if (object instanceof Opaque) object.state = state
  else if (!(object instanceof Dict || object instanceof Ignored))
    throw machine.problem('sets the state of something that has none')
}
