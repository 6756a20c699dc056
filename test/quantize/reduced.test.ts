import { describe, expect, it } from 'vitest'
import { initialise, lower, type Op, type Plan, parametersOf, resnet } from '../../lib/index.ts'
import type { Quantization } from '../../lib/model/quantization.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { quantizedValues } from '../../lib/quantize/quantized-values.ts'
import { roundWeights } from '../../lib/quantize/round-weights.ts'
import { type AllWeights, foldedWeights, Trial, type TriedWeights } from '../../lib/quantize/trial.ts'
import type { WeightSource } from '../../lib/weights/source.ts'
import { seeded } from '../support/files.ts'
import { relativeError } from '../support/golden.ts'
import { asFloats, type IntegerWeights, runReduced } from '../support/naive-int8.ts'
import { tinyBytes, tinyPlan, tinyWeights } from '../support/tiny.ts'

async function roundedWeights(plan: Plan, source: WeightSource): Promise<AllWeights> {
  const folded = await foldedWeights(plan, source, () => {})
  const weights = new Map<string, TriedWeights>()
  for (const [name, { weight, bias }] of folded)
    weights.set(name, { weight, bias, rounded: await roundWeights(weight, bias.length), roundedBias: bias })
  return weights
}

/** The network in int8, as sessions compute it and as plain loops do. */
async function both(
  plan: Plan,
  source: WeightSource,
  images: readonly Uint8Array[],
  kept: Quantization['kept'] = {},
) {
  const weights = await roundedWeights(plan, source)
  const fp32 = await Trial.open(plan, weights, 1)
  const { seen } = await fp32.observe(images)
  fp32.dispose()
  const quantization = { values: await quantizedValues(plan, seen, 'squared-error'), kept }
  const reduced = reducedPlan(plan, { precision: 'int8', quantization, bf16: true })
  const trial = await Trial.open(reduced, weights, 2)
  await trial.capture(images[0]!)
  const actual = new Map(reduced.ops.map(({ name }) => [name, trial.resultOf(name)]))
  trial.dispose()
  const naive = await runReduced(reduced, { source, integers: integersOf(weights) }, images[0]!)
  const expected = new Map(
    reduced.ops.map(({ name, dst }) => [name, asFloats(naive[dst]!, reduced.values[dst]!)]),
  )
  return { reduced, actual, expected }
}

const integersOf = (weights: AllWeights): ReadonlyMap<string, IntegerWeights> =>
  new Map(
    [...weights].map(([name, { rounded }]) => [name, { weight: rounded!.integers, scale: rounded!.scales }]),
  )

describe('a network in int8', () => {
  const network = resnet({ layers: 50, classes: 10, width: 0.25 })
  const plan = lower(network, { height: 41, width: 37, mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] })
  const weights = initialise(parametersOf(network), 1)
  const random = seeded(5)
  const images = Array.from({ length: 4 }, () =>
    Uint8Array.from({ length: 41 * 37 * 3 }, () => random() * 256),
  )

  it.each([
    ['tiny', tinyPlan, tinyWeights, [tinyBytes(1)]],
    ['ResNet-50', plan, weights, images],
  ] as const)('computes what plain loops compute, to the bit: %s', async (_, plan, source, images) => {
    const { reduced, actual, expected } = await both(plan, source, images)
    expect(reduced.values.filter(({ precision }) => precision === 'uint8').length).toBeGreaterThan(2)
    const isExact = (op: Op) => op.kind === 'normalize' || reduced.values[op.src]!.scale !== undefined
    const end = reduced.ops.findIndex(op => !isExact(op)) // a mean of floats; what follows may round elsewhere
    expect(reduced.ops[end]!.kind).toBe('globalAvgPool')
    for (const [i, { name }] of reduced.ops.entries())
      if (i < end) expect(actual.get(name), name).toEqual(expected.get(name))
      else expect(relativeError(actual.get(name)!, expected.get(name)!), name).toBeLessThan(5e-3)
  })
})
