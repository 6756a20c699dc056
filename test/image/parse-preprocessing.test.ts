import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { imagenet, parsePreprocessing } from '../../lib/image/preprocess.ts'
import { ResidualError } from '../../lib/index.ts'

const models = join(packageRoot, 'models')
const records = readdirSync(models).filter(name => name.endsWith('.json'))
const size = { height: 2, width: 2 }
const step = (value: unknown) => ({ steps: [value, { crop: size }] })

describe('parsePreprocessing', () => {
  it.each(records)('accepts the record %s', name => {
    const { preprocessing } = JSON.parse(readFileSync(join(models, name), 'utf8'))
    expect(parsePreprocessing(preprocessing, name)).toEqual(preprocessing)
  })

  it('accepts its own JSON, and drops a comment', () => {
    const json = JSON.parse(JSON.stringify({ ...imagenet, comment: 'x' }))
    expect(parsePreprocessing(json, 'test')).toEqual(imagenet)
    expect(parsePreprocessing({ ...json, interpolation: 'bicubic' }, 'test').interpolation).toBe('bicubic')
  })

  it.each([undefined, null, 1, 'x'])('refuses %o', value => {
    expect(() => parsePreprocessing(value, 'test')).toThrow('The preprocessing in test is not an object.')
  })

  it.each([
    [{ steps: undefined }, "has no 'steps'"],
    [{ steps: [] }, "has no 'steps'"],
    [{ steps: { crop: size } }, "has no 'steps'"],
    [step(null), 'has the invalid step null.'],
    [step(1), 'has the invalid step 1.'],
    [step({}), 'has the invalid step {}.'],
    [step([]), 'has the invalid step [].'],
    [step({ flip: size }), 'has the invalid step {"flip":'],
    [step({ crop: null }), 'has the invalid step {"crop":null}.'],
    [step({ crop: 224 }), 'has the invalid step {"crop":224}.'],
    [step({ resize: null }), 'has the invalid step {"resize":null}.'],
    [step({ crop: size, resize: size }), 'has the invalid step {"crop":'],
    [step({ crop: size, resize: null }), 'has the invalid step {"crop":'],
    [step({ crop: null, resize: size }), 'has the invalid step {"crop":null,'],
    [step({ crop: size, flip: true }), 'has the invalid step {"crop":'],
    [step({ crop: { height: 2 } }), 'has the invalid step {"crop":{"height":2}}'],
    [step({ crop: { shorterSide: 2 } }), 'has the invalid step {"crop":{"shorterSide":2}}'],
    [step({ crop: { ...size, top: 0 } }), 'has the invalid step {"crop":'],
    [step({ resize: { shorterSide: 2, height: 2 } }), 'has the invalid step {"resize":'],
    ...[0, -1, 0.5, '2', null, Number.NaN, 16385].map((shorterSide): [object, string] => [
      step({ resize: { shorterSide } }),
      'has the invalid step {"resize":{"shorterSide":',
    ]),
    [{ steps: [{ resize: { shorterSide: 2 } }] }, 'ends with a step that leaves the size undetermined'],
    [{ interpolation: undefined }, "has an 'interpolation' that is neither 'bilinear' nor 'bicubic'"],
    [{ interpolation: 'nearest' }, "has an 'interpolation' that is neither"],
    ...[undefined, 0.5, [0.5], [1, 2, 3, 4], [1, 2, '3'], [1, 2, null], [1, 2, Number.NaN]].flatMap(
      (value): [object, string][] => [
        [{ mean: value }, "has a 'mean' that is not three numbers"],
        [{ std: value }, "has a 'std' that is not three positive numbers"],
      ],
    ),
    [{ std: [1, 0, 1] }, "has a 'std' that is not three positive numbers"],
    [{ std: [1, 1, -1] }, "has a 'std' that is not three positive numbers"],
    [{ std: [1, 1, 1e-320] }, 'cannot be applied: Expected numbers from 0.000001 to 1000000 for std'],
    [{ mean: [1e300, 1, 1] }, 'cannot be applied: Expected numbers from -1000000 to 1000000 for mean'],
    [{ range: 1e-300 }, 'cannot be applied: Expected numbers from'],
    [{ range: 1e9 }, 'cannot be applied: Expected numbers from'],
  ] as [object, string][])('refuses %j', (changes, message) => {
    const parsing = () => parsePreprocessing({ ...imagenet, ...changes }, 'test')
    expect(parsing).toThrow(ResidualError)
    expect(parsing).toThrow(expect.objectContaining({ code: 'MODEL_INVALID' }))
    expect(parsing).toThrow(`The preprocessing in test ${message}`)
  })

  it('accepts the smallest and the largest side', () => {
    for (const side of [1, 16384]) {
      const steps = [{ resize: { shorterSide: side } }, { crop: { height: side, width: 1 } }]
      expect(parsePreprocessing({ ...imagenet, steps }, 'test').steps).toEqual(steps)
    }
  })
})
