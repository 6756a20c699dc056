import { describe, expect, it } from 'vitest'
import {
  decodeBFloat16,
  decodeFloat16,
  encodeBFloat16,
  encodeFloat16,
} from '../../../lib/weights/tensors/float16.ts'
import { seeded } from '../../support/files.ts'

const formats = [
  { name: 'F16', exponentBits: 5, fractionBits: 10, decode: decodeFloat16, encode: encodeFloat16 },
  { name: 'BF16', exponentBits: 8, fractionBits: 7, decode: decodeBFloat16, encode: encodeBFloat16 },
]

/** What IEEE 754 says that the bits of such a number mean, from the digits of their binary form. */
function reference(pattern: number, exponentBits: number): number {
  const digits = pattern.toString(2).padStart(16, '0')
  const sign = digits[0] === '1' ? -1 : 1
  const exponent = Number.parseInt(digits.slice(1, 1 + exponentBits), 2)
  const fraction = digits.slice(1 + exponentBits)
  const bias = 2 ** (exponentBits - 1) - 1
  const scaled = Number.parseInt(fraction, 2) / 2 ** fraction.length
  if (exponent === 2 ** exponentBits - 1) return scaled === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (exponent === 0 ? scaled * 2 ** (1 - bias) : (1 + scaled) * 2 ** (exponent - bias))
}

describe.each(formats)('$name', ({ exponentBits, fractionBits, decode, encode }) => {
  const patterns = Uint16Array.from({ length: 1 << 16 }, (_, pattern) => pattern)
  const values = new Float32Array(patterns.length)
  decode(patterns, values)
  const infinity = (2 ** exponentBits - 1) << fractionBits
  const largest = values[infinity - 1]!

  it('decodes all 65,536 patterns as they are defined', () => {
    const wrong = patterns.filter(p => !Object.is(values[p], reference(p, exponentBits)))
    expect(wrong).toEqual(new Uint16Array())
  })

  it('encodes every value it has to its own bits, and NaNs to NaNs', () => {
    const isNaNPattern = (p: number) => (p & 0x7fff) > infinity
    const wrong = patterns.filter(p => {
      const encoded = encode(values[p]!)
      return isNaNPattern(p) ? !isNaNPattern(encoded) : encoded !== p
    })
    expect(wrong).toEqual(new Uint16Array())
  })

  it('rounds what lies between two values to the nearer one, and the middle to the even one', () => {
    const wrong: number[] = []
    for (let low = 0; low < infinity - 1; low++) {
      const [a, b] = [values[low]!, values[low + 1]!]
      const middle = (a + b) / 2
      const even = low % 2 === 0 ? low : low + 1
      // The middle and its neighbours are float32s: those have at least 13 bits more.
      const near = (b - a) / 2 ** 12
      if (middle === Math.fround(middle) && encode(middle) !== even) wrong.push(low)
      const [below, above] = [Math.fround(middle - near), Math.fround(middle + near)]
      if (below < middle && encode(below) !== low) wrong.push(low)
      if (above > middle && encode(above) !== low + 1) wrong.push(low)
      if (encode(-middle) !== (encode(middle) | 0x8000)) wrong.push(low)
    }
    expect(wrong).toEqual([])
  })

  it('turns what rounds past the largest value into infinity, and nothing smaller', () => {
    const step = largest - values[infinity - 2]!
    expect(encode(largest + step / 4)).toBe(infinity - 1)
    expect(encode(Math.fround(largest + step / 2) - step / 2 ** 12)).toBe(infinity - 1)
    expect(encode(largest + step / 2)).toBe(infinity)
    expect(encode(-(largest + step / 2))).toBe(infinity | 0x8000)
    expect(encode(Number.POSITIVE_INFINITY)).toBe(infinity)
    expect(encode(Number.NEGATIVE_INFINITY)).toBe(infinity | 0x8000)
    expect([encode(0), encode(-0), encode(-(2 ** -149))]).toEqual([0, 0x8000, 0x8000])
  })

  it('encodes any float32 to the nearest value', () => {
    const random = seeded(16)
    const bits = new Uint32Array(1)
    const float = new Float32Array(bits.buffer)
    const distance = (value: number, pattern: number) =>
      Math.abs(value - (pattern === infinity ? 2 * largest - values[infinity - 2]! : values[pattern]!))
    let wrong = 0
    let finite = 0
    for (let i = 0; i < 200_000; i++) {
      // Half of them anywhere, half where F16 has values.
      bits[0] = i % 2 ? random() * 2 ** 31 : 0x32000000 + random() * 0x16000000
      const value = float[0]!
      if (!(value < largest)) continue
      finite++
      const pattern = encode(value)
      const nearest = distance(value, pattern)
      if (pattern > infinity || nearest > distance(value, pattern + 1)) wrong++
      else if (pattern > 0 && nearest > distance(value, pattern - 1)) wrong++
    }
    expect(wrong).toBe(0)
    expect(finite).toBeGreaterThan(100_000)
  })
})
