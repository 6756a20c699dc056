// The pickle virtual machine: opcodes, stack, memo. It builds data and runs no code.
import type { ResidualError } from '../../../errors.ts'
import { globals, opaque, unknownGlobal } from './globals.ts'
import type { PickleInput } from './input.ts'
import { type Caller, Global, Ignored, Opaque, type Value } from './values.ts'

/** Beyond these limits a pickle is not a checkpoint: ResNet-152 with its optimizer's state takes a hundredth of them. */
const maxWork = 3_000_000
const maxMemo = 500_000
const mostUnknown = 20 // names in a message

/** Resolves a pickle's persistent id. Undefined refuses it. */
export type Persistent = (id: Value) => Value | undefined

export class Machine implements Caller {
  stopped = false
  work = 0
  /** Stack heights: everything above the last one becomes the next tuple, list or dictionary. */
  readonly marks: number[] = []
  readonly unknown = new Set<string>()
  readonly #stack: Value[] = []
  readonly #memo = new Map<number, Value>()
  readonly #maxWork: number

  constructor(
    readonly input: PickleInput,
    private readonly persistent: Persistent,
  ) {
    this.#maxWork = Math.min(2 * (input.end - input.position), maxWork)
  }

  /** Counts the work done. A pickle that needs far more than its size suggests was made to take long. */
  spend(amount: number): void {
    this.work += amount
    if (this.work > this.#maxWork) throw this.problem('takes more steps than any checkpoint needs')
  }

  push(value: Value): void {
    this.#stack.push(value)
  }

  pop(): Value {
    if (this.#stack.length <= (this.marks.at(-1) ?? 0)) throw this.#tooShort()
    return this.#stack.pop()!
  }

  /** The topmost value, without popping it. */
  top(): Value {
    if (this.#stack.length <= (this.marks.at(-1) ?? 0)) throw this.#tooShort()
    return this.#stack.at(-1)!
  }

  mark(): void {
    this.marks.push(this.#stack.length)
  }

  /** Pops everything above the last mark. */
  popToMark(): Value[] {
    const height = this.marks.pop()
    if (height === undefined) throw this.problem('pops a mark that is not there')
    return this.#stack.splice(height)
  }

  popMany(count: number): Value[] {
    if (this.#stack.length - count < (this.marks.at(-1) ?? 0)) throw this.#tooShort()
    return this.#stack.splice(this.#stack.length - count)
  }

  /** Stores the top in the memo, under the index or the next free one. */
  remember(index = this.#memo.size): void {
    if (this.#memo.size >= maxMemo) throw this.problem('memoizes more values than any checkpoint needs')
    this.#memo.set(index, this.top())
  }

  recall(index: number): void {
    const value = this.#memo.get(index)
    if (value === undefined) throw this.problem(`reads memo ${index}, which it has not stored`)
    this.push(value)
  }

  global(module: Value, name: Value): Global {
    if (typeof module !== 'string' || typeof name !== 'string')
      throw this.problem('names a global with something other than strings')
    const found = globals.get(`${module}.${name}`)
    if (found) return found
    const unknown = `${shown(module)}.${shown(name)}`
    if (this.unknown.size < mostUnknown) this.unknown.add(unknown)
    return unknownGlobal(unknown)
  }

  call(callable: Value, args: Value): Value {
    if (callable instanceof Ignored) {
      const name = callable instanceof Opaque ? callable.name : 'something unknown'
      return opaque(name, Array.isArray(args) ? (args as readonly Value[]) : [], this)
    }
    if (!(callable instanceof Global)) throw this.problem('calls something that is not a function')
    if (!Array.isArray(args)) throw this.problem(`calls ${callable.name} without arguments`)
    return callable.call(args as readonly Value[], this)
  }

  fromPersistent(id: Value): Value {
    const value = this.persistent(id)
    if (value === undefined) throw this.problem('has a persistent id that is not a storage')
    return value
  }

  problem(text: string): ResidualError {
    return this.input.invalid(`its pickle ${text}`)
  }

  #tooShort(): ResidualError {
    return this.problem('pops a value that is not there')
  }
}

function shown(name: string): string {
  return name.length > 100 ? `${name.slice(0, 100)}...` : name
}
