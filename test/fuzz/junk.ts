// Values nobody expects where they are, and objects that answer differently each time they are asked.
import { createContext, runInContext } from 'node:vm'
import type { Picker } from './random-network.ts'

/** What getters of these throw, to be told from errors of the addon. */
export class Thrown extends Error {}

const otherRealm = createContext()
const inOtherRealm = (code: string) => runInContext(code, otherRealm)

/** A value of any kind. */
export function junk(pick: Picker): unknown {
  const kinds = [
    () =>
      pick.from([
        0,
        -0,
        1,
        2,
        3,
        5,
        8,
        16,
        -1,
        1.5,
        1e9,
        1e300,
        1e-320,
        Number.NaN,
        Number.POSITIVE_INFINITY,
      ]),
    () => pick.from([2 ** 31, 2 ** 32, 2 ** 32 + 1, -(2 ** 31), 2 ** 53, 65_536, 1 << 20]),
    () =>
      pick.from([
        '',
        '1',
        'conv',
        'normalize',
        'relu',
        'logits',
        'F32',
        'KCRS',
        '\u0000',
        '\ud800',
        'x'.repeat(1000),
      ]),
    () => pick.from([undefined, null, true, false, 1n, Symbol('s'), () => 1]),
    () => pick.from([{}, [], [1], [null], { length: 3 }, new Date(), new Map(), Promise.resolve(1)]),
    () => typedArray(pick),
    () =>
      inOtherRealm(
        pick.from(['({})', '[1, 2]', 'new Uint8Array(9)', 'new Float32Array(4)', '"conv"', 'new Number(3)']),
      ),
    () => new Proxy({}, { get: () => junk(pick) }),
    () => new Proxy([], {}),
    () => new Array(pick.from([3, 70_000, 2 ** 32 - 1])),
  ]
  return pick.from(kinds)()
}

const arrays = [
  Uint8Array,
  Int8Array,
  Uint16Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  Uint8ClampedArray,
] as const

/** A typed array: of ordinary memory, shared, resizable, part of something, or gone. */
export function typedArray(
  pick: Picker,
  Type: (typeof arrays)[number] = pick.from(arrays),
  length = pick.below(100),
) {
  const bytes = length * Type.BYTES_PER_ELEMENT
  const kind = pick.below(8)
  if (kind === 0) return new Type(new SharedArrayBuffer(bytes) as unknown as ArrayBuffer)
  if (kind === 1) return new Type(new ArrayBuffer(bytes + 8), 8, length)
  if (kind === 2) {
    const array = new Type(length)
    structuredClone(array, { transfer: [array.buffer] })
    return array
  }
  if (kind === 3) {
    // @ts-expect-error: `maxByteLength` is of a later standard than the types
    const buffer = new ArrayBuffer(bytes, { maxByteLength: bytes + 64 }) as ArrayBuffer & {
      resize(bytes: number): void
    }
    const array = new Type(buffer)
    buffer.resize(pick.from([bytes, 0, bytes + 8, Math.floor(bytes / 16) * 8]))
    return array
  }
  const array = new Type(length)
  if (kind === 4) Object.defineProperty(array, 'length', { value: pick.below(1000) })
  return array
}

/** `value` as another realm has it: only for what JSON can say. */
export const ofOtherRealm = (value: unknown): unknown => inOtherRealm(`(${JSON.stringify(value)})`)

/** Where to spoil something: an object within `object`, or that itself, and one of its keys. */
function someMember(
  object: Record<string, unknown>,
  pick: Picker,
): [Record<string, unknown>, string | undefined] {
  const keys = Object.keys(object)
  const key = keys.length > 0 ? pick.from(keys) : undefined
  const next = key === undefined ? undefined : Object.getOwnPropertyDescriptor(object, key)?.value
  const isLeaf = typeof next !== 'object' || next === null || ArrayBuffer.isView(next)
  return isLeaf || pick.below(4) === 0 ? [object, key] : someMember(next as Record<string, unknown>, pick)
}

/** Makes one member of `object`, or of something in it, another value, or one that changes, or nothing. */
export function spoil(object: object, pick: Picker): void {
  const [holder, key] = someMember(object as Record<string, unknown>, pick)
  if (key === undefined) return
  const before = Object.getOwnPropertyDescriptor(holder, key)?.value
  const define = (get: () => unknown) =>
    Object.defineProperty(holder, key, { get, enumerable: true, configurable: true })
  const isArray = Array.isArray(holder)
  const ways = [
    () =>
      Object.defineProperty(holder, key, {
        value: junk(pick),
        enumerable: true,
        configurable: true,
        writable: true,
      }),
    () => delete holder[key],
    () => {
      let reads = 0
      define(() => (reads++ === 0 ? before : junk(pick)))
    },
    () => define(() => junk(pick)),
    () =>
      define(() => {
        throw new Thrown()
      }),
    () => {
      if (typeof before === 'number') holder[key] = before + pick.from([-1, 1, 0.5, 2 ** 32])
    },
    () => {
      if (!isArray) return
      const array = holder as unknown as unknown[]
      const change = pick.from([
        () => array.push(...new Array(pick.from([1, 10, 20_000])).fill(before)),
        () => array.splice(0, pick.below(array.length + 1)),
      ])
      define(() => {
        try {
          change()
        } catch {} // a getter of another array's element, which cannot be moved
        return before
      })
    },
    () => {
      if (isArray) (holder as unknown as unknown[]).push(pick.below(2) ? junk(pick) : before)
    },
  ]
  pick.from(ways)()
}
