// Damages a file in a few places at once, in ways that have broken readers before; the same way for the same numbers.

/** Integers at which things go over: sizes, counts and offsets are replaced by them. */
const extremes = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0xffffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
]

export type Random = () => number

/** A damaged copy of one of the seeds, which may lend pieces to each other. */
export function mutate(seeds: readonly Buffer[], random: Random): Buffer {
  const below = (n: number) => Math.floor(random() * n)
  let bytes = Buffer.from(seeds[below(seeds.length)]!)
  for (let n = 1 + below(random() < 0.2 ? 8 : 2); n > 0; n--)
    bytes = damages[below(damages.length)]!(bytes, below, seeds)
  return bytes
}

type Damage = (
  bytes: Buffer<ArrayBuffer>,
  below: (n: number) => number,
  seeds: readonly Buffer[],
) => Buffer<ArrayBuffer>

const damages: readonly Damage[] = [
  function flip(bytes, below) {
    if (bytes.length > 0) bytes[below(bytes.length)]! ^= 1 << below(8)
    return bytes
  },
  function replace(bytes, below) {
    if (bytes.length > 0) bytes[below(bytes.length)] = below(256)
    return bytes
  },
  function copyByte(bytes, below) {
    // A byte that is somewhere else in the file is more likely to mean something: an opcode, a digit, a bracket.
    if (bytes.length > 0) bytes[below(bytes.length)] = bytes[below(bytes.length)]!
    return bytes
  },
  function extreme(bytes, below) {
    const size = [1, 2, 4, 8][below(4)]!
    if (bytes.length < size) return bytes
    const value = BigInt.asUintN(8 * size, extremes[below(extremes.length)]!)
    const at = below(bytes.length - size + 1)
    for (let i = 0; i < size; i++) bytes[at + i] = Number((value >> BigInt(8 * i)) & 255n)
    return bytes
  },
  function nudge(bytes, below) {
    if (bytes.length > 0) bytes[below(bytes.length)]! += below(2) === 0 ? 1 : -1
    return bytes
  },
  function truncate(bytes, below) {
    return bytes.subarray(0, below(bytes.length + 1))
  },
  function remove(bytes, below) {
    const [at, length] = piece(bytes, below)
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])
  },
  function insert(bytes, below) {
    const at = below(bytes.length + 1)
    const random = Buffer.from(Array.from({ length: 1 + below(16) }, () => below(256)))
    return Buffer.concat([bytes.subarray(0, at), random, bytes.subarray(at)])
  },
  function repeat(bytes, below) {
    const [at, length] = piece(bytes, below)
    const copies = Array.from({ length: 1 + below(8) }, () => bytes.subarray(at, at + length))
    return Buffer.concat([bytes.subarray(0, at), ...copies, bytes.subarray(at)])
  },
  function splice(bytes, below, seeds) {
    const other = seeds[below(seeds.length)]!
    const [from, length] = piece(other, below)
    const at = below(bytes.length + 1)
    const behind = at + (below(2) === 0 ? length : 0) // over what is there, or between
    return Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + length), bytes.subarray(behind)])
  },
]

function piece(bytes: Buffer, below: (n: number) => number): [at: number, length: number] {
  const at = below(bytes.length + 1)
  return [at, below(Math.min(bytes.length - at, 64) + 1)]
}
