import { describe, expect, it } from 'vitest'
import { parseQuantization, type Quantization, quantizationText } from '../../lib/model/quantization.ts'

const fail = (problem: string, cause?: unknown) => new Error(problem, { cause })
const quantization: Quantization = {
  values: { normalize: { type: 'uint8', scale: 1 }, conv1: { type: 'int8', scale: 0.03 } },
  kept: { fc: 'bf16', 'layer1.0.conv1': 'fp32' },
}

describe('a quantization', () => {
  it('is read as it was written, without what else the text says', () => {
    const text = quantizationText(quantization, { range: 'squared error', samples: 256 })
    expect(JSON.parse(text)).toEqual({
      version: 1,
      ...quantization,
      method: { range: 'squared error', samples: 256 },
    })
    expect(parseQuantization(text, fail)).toEqual(quantization)
  })

  it('may be of operations with any names', () => {
    const text =
      '{"version":1,"values":{"__proto__":{"type":"int8","scale":2},"toString":{"type":"int8","scale":3}},"kept":{"__proto__":"fp32"}}'
    const { values, kept } = parseQuantization(text, fail)
    expect(Object.keys(values)).toEqual(['__proto__', 'toString'])
    expect(Object.keys(kept)).toEqual(['__proto__'])
    expect(parseQuantization('{"version":1,"values":{},"kept":{}}', fail).kept.toString).toBeUndefined()
  })

  const changed = (changes: object) =>
    JSON.stringify({ version: 1, values: {}, kept: {}, ...changes }).replace('"huge"', '1e999')
  const scaled = (scale: unknown) => changed({ values: { a: { type: 'int8', scale } } })
  it.each<[string, RegExp]>([
    ['{', /'residual\.quantization' is not JSON/],
    ['[]', /is not an object/],
    ['null', /is not an object/],
    ['3', /is not an object/],
    [changed({ version: 2 }), /has the version 2, where only 1 is known/],
    [changed({ version: undefined }), /has the version nothing/],
    [changed({ values: [] }), /has no values/],
    [changed({ values: undefined }), /has no values/],
    [changed({ kept: null }), /does not say what is kept/],
    [changed({ kept: { fc: 'fp16' } }), /keeps 'fc' in "fp16", which is neither bf16 nor fp32/],
    [changed({ kept: { fc: 1 } }), /keeps 'fc' in 1/],
    [changed({ values: { a: null } }), /the values of 'a' as nothing/],
    [changed({ values: { a: { type: 'int4', scale: 1 } } }), /as "int4", neither int8 nor uint8/],
    [scaled(undefined), /the scale nothing/],
    [scaled('1'), /the scale "1"/],
    [scaled(0), /the scale 0, which is not a positive number/],
    [scaled(-1), /the scale -1/],
    [scaled(null), /the scale null/],
    [scaled('huge'), /the scale null/], // Infinity as JSON
    [scaled(1e300), /the scale 1e\+300/],
    [scaled(1e-60), /the scale 1e-60/],
    [changed({ values: { normalize: { type: 'uint8', scale: 0.5 } } }), /bytes the scale 0\.5 instead of 1/],
  ])('is refused: %s', (text, message) => {
    expect(() => parseQuantization(text, fail)).toThrow(message)
  })

  it('is refused nested as deeply as JSON can be', () => {
    const deep = `{"version":1,"kept":{},"values":{"a":${'['.repeat(5000)}${']'.repeat(5000)}}}`
    expect(() => parseQuantization(deep, fail)).toThrow(/the values of 'a' as/)
  })
})
