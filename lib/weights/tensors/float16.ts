// Conversion between float32 and the two 16-bit formats, and its limits.

const bits = new Uint32Array(1)
const float = new Float32Array(bits.buffer)

/** Every half-precision value (IEEE 754 binary16) by its bits, made on first use: 256 KiB. */
let halves: Float32Array | undefined

function halfTable(): Float32Array {
  if (halves) return halves
  halves = new Float32Array(1 << 16)
  for (let h = 0; h < 1 << 16; h++) {
    const sign = h & 0x8000 ? -1 : 1
    const exponent = (h >> 10) & 0x1f
    const fraction = h & 0x3ff
    const magnitude =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction === 0
            ? Number.POSITIVE_INFINITY
            : Number.NaN
          : (1 + fraction / 1024) * 2 ** (exponent - 15)
    halves[h] = sign * magnitude
  }
  return halves
}

/** Writes the float32 values of half-precision `source` to `target`, which must have the same length. */
export function decodeFloat16(source: Uint16Array, target: Float32Array): void {
  const table = halfTable()
  for (let i = 0; i < source.length; i++) target[i] = table[source[i]!]!
}

/** Writes the float32 values of bfloat16 `source` to `target`: a bfloat16 is the upper half of a float32. */
export function decodeBFloat16(source: Uint16Array, target: Float32Array): void {
  const targetBits = new Uint32Array(target.buffer, target.byteOffset, target.length)
  for (let i = 0; i < source.length; i++) targetBits[i] = source[i]! << 16
}

/** The bits of the half-precision value nearest to `value`, ties to even; too large ones become infinity. */
export function encodeFloat16(value: number): number {
  float[0] = value
  const sign = (bits[0]! >>> 16) & 0x8000
  const magnitude = bits[0]! & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00 // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00 // 65520 and above round to infinity
  // Below 2^-14 the spacing is 2^-24: adding 0.5 lets the FPU round there, ties to even.
  if (magnitude < 0x38800000) {
    float[0] = Math.abs(value) + 0.5
    return sign | (bits[0]! - 0x3f000000)
  }
  const even = (magnitude >>> 13) & 1
  return sign | ((magnitude - 0x38000000 + 0xfff + even) >>> 13)
}

/** The bits of the bfloat16 nearest to `value`, ties to even; too large ones become infinity. */
export function encodeBFloat16(value: number): number {
  float[0] = value
  const all = bits[0]!
  if ((all & 0x7fffffff) > 0x7f800000) return (all >>> 16) | 0x40 // NaN stays NaN
  return (all + 0x7fff + ((all >>> 16) & 1)) >>> 16
}

/** The first index of a NaN, or of a magnitude of at least `limit`; -1 if there is none. */
export function indexOutside(values: Float32Array, limit: number): number {
  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i]!) < limit)) return i // comparisons with NaN are false
  return -1
}
