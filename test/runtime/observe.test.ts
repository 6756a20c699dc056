import { describe, expect, it } from 'vitest'
import { initialise, lower, type Plan, parametersOf, resnet } from '../../lib/index.ts'
import { elements } from '../../lib/model/plan.ts'
import { loadWeights } from '../../lib/runtime/load-weights.ts'
import { loadNative, type NativeSession } from '../../lib/runtime/native.ts'
import { seeded } from '../support/files.ts'
import { tinyBytes, tinyPlan, tinyWeights } from '../support/tiny.ts'

const { NativeSession: Native } = loadNative()

async function opened(plan: Plan, weights = tinyWeights, threads = 1): Promise<NativeSession> {
  const session = new Native(plan, { threads })
  await loadWeights(plan, weights, session, 1)
  return session
}

const network = resnet({ layers: 18, classes: 10 })
const plan = lower(network, { height: 48, width: 40, mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] })
const weights = initialise(parametersOf(network), 1)
const images = (n: number, most = 256, seed = 1) => {
  const random = seeded(seed)
  return Uint8Array.from({ length: n * 48 * 40 * 3 }, () => random() * most)
}

/** What every operation computes. */
async function captured(session: NativeSession, input: Uint8Array, of: Plan): Promise<Float32Array[]> {
  await session.capture(input)
  return of.ops.map((_, op) => session.captured(op))
}

describe('capture', () => {
  it('returns what every operation computes', async () => {
    const session = await opened(tinyPlan)
    const results = await captured(session, tinyBytes(5), tinyPlan)
    expect(results.map(result => result.length)).toEqual(
      tinyPlan.ops.map(({ dst }) => 5 * elements(tinyPlan.values[dst]!)),
    )
    const outputs = await session.run(tinyBytes(5), ['logits', 'featureMaps', 'features'])
    for (const [name, output] of Object.entries(outputs)) {
      const op = tinyPlan.ops.findIndex(
        ({ dst }) => dst === tinyPlan.outputs[name as keyof typeof tinyPlan.outputs],
      )
      expect(results[op], name).toEqual(output)
    }
    expect(results[0]![4]).toBeCloseTo((tinyBytes(1)[4]! / 255 - 0.4) / 0.25, 5)
    session.dispose()
  })

  it('puts images of a large batch where they belong', async () => {
    const session = await opened(plan, weights, 2)
    const input = images(7)
    const all = await captured(session, input, plan)
    const perImage = input.length / 7
    for (const i of [0, 3, 6]) {
      const one = await captured(session, input.slice(i * perImage, (i + 1) * perImage), plan)
      for (const [op, result] of one.entries())
        expect(all[op]!.subarray(i * result.length, (i + 1) * result.length), plan.ops[op]!.name).toEqual(
          result,
        )
    }
    session.dispose()
  })
})

describe('observe', () => {
  it.each([1, 3])('adds up what operations compute, on %i threads', async threads => {
    const session = await opened(plan, weights, threads)
    const batches = [images(3), images(1, 256, 2), images(70, 200, 3)]
    for (const batch of batches) await session.observe(batch, [])
    const seen = session.observations()
    const expected = plan.ops.map(({ dst }) => {
      const { channels } = plan.values[dst]!
      return {
        sums: new Float64Array(channels),
        squares: new Float64Array(channels),
        maxima: new Float32Array(channels),
        count: 0,
        nonzero: 0,
      }
    })
    for (const batch of batches)
      for (const [op, result] of (await captured(session, batch, plan)).entries()) {
        const { sums, squares, maxima } = expected[op]!
        for (let i = 0; i < result.length; i++) {
          const [c, x] = [i % sums.length, result[i]!]
          sums[c]! += x
          squares[c]! += x * x
          maxima[c] = Math.max(maxima[c]!, Math.abs(x))
          if (Math.abs(x) >= seen[op]!.binWidth) expected[op]!.nonzero++
        }
        expected[op]!.count += result.length
      }
    for (const [
      op,
      { pixels, channelSums, channelSquares, channelMaxima, bins, binWidth },
    ] of seen.entries()) {
      const { sums, squares, maxima, count, nonzero } = expected[op]!
      const largest = Math.max(...maxima)
      expect(pixels * sums.length, plan.ops[op]!.name).toBe(count)
      expect(channelMaxima).toEqual(maxima)
      for (const [c, sum] of sums.entries()) {
        const bound = 1e-5 * Math.sqrt(squares[c]! * pixels) + 1e-9
        expect(Math.abs(channelSums[c]! - sum)).toBeLessThan(bound)
        expect(Math.abs(channelSquares[c]! - squares[c]!)).toBeLessThan(1e-5 * squares[c]! + 1e-9)
      }
      expect(bins.reduce((a, b) => a + b)).toBe(count)
      expect(count - bins[0]!).toBeGreaterThan(nonzero * 0.999)
      expect(count - bins[0]!).toBeLessThan(nonzero * 1.001)
      expect(binWidth * bins.length).toBeGreaterThan(largest)
      expect(bins.findLastIndex(n => n > 0)).toBe(
        Math.floor(Math.fround(largest * Math.fround(1 / binWidth))),
      )
    }
    session.dispose()
  })

  it('returns the outputs that are asked for, as a run does', async () => {
    const session = await opened(plan, weights, 2)
    const names = ['logits', 'features'] as const
    expect(await session.observe(images(70), names)).toEqual(await session.run(images(70), names))
    expect(await session.observe(images(1), [])).toEqual({})
    expect(session.observations()[0]!.pixels).toBe(71 * 48 * 40)
    session.dispose()
  })

  it('widens its bins for numbers larger than those of the first batch', async () => {
    const session = await opened(plan, weights)
    const dark = images(1, 2)
    await session.observe(dark, [])
    const before = session.observations()[1]!
    await session.observe(images(1), [])
    const after = session.observations()[1]!
    expect(Math.log2(after.binWidth / before.binWidth) % 1).toBe(0)
    expect(after.binWidth).toBeGreaterThan(before.binWidth)
    const results = [await captured(session, dark, plan), await captured(session, images(1), plan)]
    const all = results.flatMap(([, result]) => Array.from(result!, Math.abs))
    for (const bin of [0, 1, 100, 1000]) {
      const due = all.filter(x => Math.floor(x / after.binWidth) === bin).length
      expect(Math.abs(after.bins[bin]! - due)).toBeLessThan(0.02 * due + 2) // those on an edge
    }
    session.dispose()
  })

  it('is empty before anything was observed, and takes bytes only', async () => {
    const session = await opened(tinyPlan)
    expect(session.observations().map(({ pixels }) => pixels)).toEqual(tinyPlan.ops.map(() => 0))
    expect(() => session.observe(new Float32Array(8 * 8 * 3) as never, [])).toThrow('must be a Uint8Array')
    expect(() => session.observe(tinyBytes(1), ['nothing' as never])).toThrow("no output 'nothing'")
    expect(() => session.captured(0)).toThrow('captured nothing yet')
    await session.capture(tinyBytes(1))
    expect(() => session.captured(tinyPlan.ops.length)).toThrow('index of an operation')
    expect(() => session.capture(new Float32Array(8 * 8 * 3) as never)).toThrow('must be a Uint8Array')
    session.dispose()
  })

  it('refuses numbers that are not finite', async () => {
    const read = async (name: string) =>
      (await tinyWeights.read(name)).map(x => (name.includes('conv') ? x * 1e18 : x))
    const huge = { ...tinyWeights, read }
    const session = await opened(tinyPlan, huge)
    await expect(session.observe(tinyBytes(1), [])).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: expect.stringMatching(/^Operation 'block\.conv\d' computed/),
    })
    session.dispose()
  })
})
