import { describe, expect, it } from 'vitest'
import type { Parameter } from '../../lib/index.ts'
import { initialise } from '../../lib/weights/init.ts'

const parameters: readonly Parameter[] = [
  { name: 'conv.weight', shape: [64, 32, 3, 3], role: 'convWeight' },
  { name: 'bn.weight', shape: [32], role: 'bnWeight' },
  { name: 'bn.bias', shape: [32], role: 'bnBias' },
  { name: 'bn.running_mean', shape: [32], role: 'bnMean' },
  { name: 'bn.running_var', shape: [32], role: 'bnVar' },
  { name: 'fc.weight', shape: [100, 400], role: 'linearWeight' },
  { name: 'fc.bias', shape: [100], role: 'linearBias' },
  { name: 'odd.weight', shape: [1, 3, 1, 1], role: 'convWeight' },
]
const read = (name: string, seed = 1) => initialise(parameters, seed).read(name)
const mean = (values: ArrayLike<number>, of: (value: number) => number = value => value) =>
  Array.from(values, of).reduce((a, b) => a + b) / values.length

describe('initialise', () => {
  it('draws convolution weights from a normal distribution of the standard deviation of He et al.', async () => {
    const weights = await read('conv.weight')
    const std = Math.sqrt(2 / (3 * 3 * 32))
    expect(weights).toHaveLength(64 * 32 * 9)
    expect(weights).not.toContain(0)
    // Of n numbers, the mean and the standard deviation lie within 4 standard errors.
    const error = 4 / Math.sqrt(weights.length)
    expect(Math.abs(mean(weights)) / std).toBeLessThan(error)
    expect(Math.abs(mean(weights, x => (x / std) ** 2) - 1)).toBeLessThan(error * Math.SQRT2)
    // Normal ones: 68.27 % within one, 4.55 % beyond two; kurtosis 3; neighbours independent.
    expect(mean(weights, x => Number(Math.abs(x) < std))).toBeCloseTo(0.6827, 1.5)
    expect(mean(weights, x => Number(Math.abs(x) > 2 * std))).toBeCloseTo(0.0455, 2)
    expect(Math.abs(mean(weights, x => (x / std) ** 4) - 3)).toBeLessThan(error * Math.sqrt(96))
    const products = weights.subarray(1).map((x, i) => (x * weights[i]!) / std ** 2)
    expect(Math.abs(mean(products))).toBeLessThan(error)
  })

  it('draws linear weights uniformly within 1 / sqrt(C)', async () => {
    const weights = await read('fc.weight')
    const bound = 1 / Math.sqrt(400)
    expect(weights).toHaveLength(40_000)
    expect(weights.every(x => Math.abs(x) <= bound)).toBe(true)
    expect(Math.max(...weights)).toBeGreaterThan(0.999 * bound)
    expect(Math.min(...weights)).toBeLessThan(-0.999 * bound)
    for (let tenth = -1; tenth < 1; tenth += 0.2) {
      const share = mean(weights, x => Number(x >= tenth * bound && x < (tenth + 0.2) * bound))
      expect(Math.abs(share - 0.1)).toBeLessThan(4 * Math.sqrt((0.1 * 0.9) / 40_000))
    }
  })

  it('makes batch norms the identity and biases 0', async () => {
    expect(await read('bn.weight')).toEqual(new Float32Array(32).fill(1))
    expect(await read('bn.running_var')).toEqual(new Float32Array(32).fill(1))
    expect(await read('bn.bias')).toEqual(new Float32Array(32))
    expect(await read('bn.running_mean')).toEqual(new Float32Array(32))
    expect(await read('fc.bias')).toEqual(new Float32Array(100))
  })

  it('gives these very numbers, on every machine and in every version', async () => {
    // From a Python program that follows the papers and the comment in init.ts, not that code.
    expect(await read('odd.weight')).toEqual(new Float32Array([0.988264263, 0.688240111, 1.03890324]))
    expect(await read('odd.weight', 2 ** 40 + 5)).toEqual(
      new Float32Array([-1.11465669, 0.498136282, -0.568212986]),
    )
    expect((await read('conv.weight')).slice(0, 3)).toEqual(
      new Float32Array([0.113647014, 0.0188553259, 0.0671977848]),
    )
    expect((await read('fc.weight')).slice(0, 3)).toEqual(
      new Float32Array([-0.0299392156, 0.0261482894, 0.00841854233]),
    )
  })

  it('gives the same numbers for the same seed and others for another', async () => {
    const weights = await read('conv.weight', 7)
    expect(await read('conv.weight', 7)).toEqual(weights)
    for (const seed of [0, 6, 8, 2 ** 32 + 7]) {
      const others = await read('conv.weight', seed)
      expect(others.filter((x, i) => x === weights[i]).length).toBeLessThan(3)
    }
  })

  it('gives other numbers for another name, whatever else there is and in whatever order it is read', async () => {
    const named = (name: string): Parameter => ({ ...parameters[0]!, name })
    const both = initialise([named('a'), named('b')], 3)
    const [b, a] = [await both.read('b'), await both.read('a')]
    expect(a.filter((x, i) => x === b[i]).length).toBeLessThan(3)
    expect(await initialise([named('a')], 3).read('a')).toEqual(a)
    expect(await initialise([named('b'), named('c'), named('a')], 3).read('b')).toEqual(b)
  })

  it('knows the names and shapes, and says which tensor it does not have', async () => {
    const source = initialise(parameters, 5)
    expect([...source.names()]).toEqual(parameters.map(({ name }) => name))
    expect(source.shape('fc.weight')).toEqual([100, 400])
    expect(source.shape('none')).toBeUndefined()
    await expect(source.read('none')).rejects.toMatchObject({
      code: 'TENSOR_NOT_FOUND',
      message: "There is no tensor 'none' in the initialisation with seed 5.",
    })
  })

  it.each([
    [-1, RangeError],
    [0.5, RangeError],
    [Number.NaN, RangeError],
    [2 ** 53, RangeError],
    ['1', TypeError],
    [undefined, TypeError],
  ])('refuses the seed %o', (seed, error) => {
    expect(() => initialise(parameters, seed as number)).toThrow(error)
    expect(() => initialise(parameters, seed as number)).toThrow(/for seed but received/)
  })
})
