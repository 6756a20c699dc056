import { describe, expect, it } from 'vitest'
import { initialise, lower, type Plan, parametersOf, resnet } from '../../lib/index.ts'
import { closeError } from '../../lib/quantize/agreement.ts'
import { calibrate, openInt8, quantizationOf } from '../../lib/quantize/calibrate.ts'
import { equalised } from '../../lib/quantize/equalise.ts'
import { quantizedValues } from '../../lib/quantize/quantized-values.ts'
import { roundWeights } from '../../lib/quantize/round-weights.ts'
import { Steps } from '../../lib/quantize/steps.ts'
import { foldedWeights, Trial, type TriedWeights } from '../../lib/quantize/trial.ts'
import type { WeightSource } from '../../lib/weights/source.ts'
import { seeded } from '../support/files.ts'
import { relativeError } from '../support/golden.ts'

const size = { height: 32, width: 32 }
const random = seeded(1)
const images = Array.from({ length: 24 }, () =>
  Uint8Array.from({ length: 32 * 32 * 3 }, () => random() * 256),
)

/** The channels of the named batch norms, and so what reads them, on scales up to 20 times apart, by a power of two each. */
function unbalanced(source: WeightSource, norm: RegExp, reader: (norm: string) => string): WeightSource {
  const factorOf = (channel: number) => 2 ** ((channel * 7) % 9) / 16
  const readers = new Map(
    [...source.names()].filter(name => norm.test(name)).map(name => [reader(name), name]),
  )
  return {
    ...source,
    read: async name => {
      const tensor = await source.read(name)
      if (norm.test(name)) return tensor.map((x, c) => x * factorOf(c))
      if (!readers.has(name)) return tensor
      const [, inputs, r, s] = source.shape(name)!
      return tensor.map((w, i) => w / factorOf(Math.floor(i / (r! * s!)) % inputs!))
    },
  }
}

const foldedOnly = (plan: Plan, source: WeightSource) => foldedWeights(plan, source, () => {})

const equal = async (plan: Plan, source: WeightSource) => {
  const folded = await foldedOnly(plan, source)
  const session = await Trial.open(plan, folded, 1)
  const { seen } = await session.observe(images)
  session.dispose()
  return equalised(plan, folded, seen)
}

/** The error of the network in int8, calibrated with weights that `prepare` makes. */
async function errorOf(source: WeightSource, prepare: typeof foldedOnly): Promise<number> {
  const prepared = await prepare(plan, source)
  const reference = await Trial.open(plan, prepared, 1)
  const { seen, logits: before } = await reference.observe(images)
  reference.dispose()
  const rounded = new Map<string, TriedWeights>()
  for (const [name, { weight, bias }] of prepared)
    rounded.set(name, { weight, bias, rounded: await roundWeights(weight, bias.length), roundedBias: bias })
  const values = await quantizedValues(plan, seen, 'squared-error')
  const trial = await openInt8(bench, rounded, quantizationOf(values, []))
  const after = await trial.logits(images)
  trial.dispose()
  return closeError(before, after)
}

const network = resnet({ layers: 50, classes: 10, width: 0.25 })
const normalised = { ...size, mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] }
const plan = lower(network, normalised)
const weights = initialise(parametersOf(network), 3)
const bench = { plan, threads: 1, bf16: false, steps: new Steps(() => {}, undefined) }
const uneven = unbalanced(weights, /layer\d\.\d\.bn1\.(?:weight|bias)$/, name =>
  name.replace(/bn1\.\w+$/, 'conv2.weight'),
)

describe('equalisation', () => {
  it.each([
    ['ResNet-50', {}],
    ['ResNet-D', { deepStem: [32, 32], averagedShortcut: true }],
    ['ResNeXt', { groups: 4, widthPerGroup: 8 }],
    ['ResNet-18', { layers: 18 }],
  ] as const)('changes nothing in float32 that a caller sees: %s', async (_, options) => {
    const network = resnet({ layers: 50, classes: 10, width: 0.25, ...options })
    const [plan, source] = [lower(network, normalised), initialise(parametersOf(network), 3)]
    const before = await Trial.open(plan, await foldedOnly(plan, source), 1)
    const after = await Trial.open(plan, await equal(plan, source), 1)
    for (const trial of [before, after]) await trial.capture(images[0]!)
    const errorIn = (op: string) => relativeError(after.resultOf(op), before.resultOf(op))
    for (const name of ['fc', plan.ops.find(op => op.kind === 'globalAvgPool')!.name])
      expect(errorIn(name), name).toBeLessThan(2e-5)
    for (const name of ['layer1.0.conv1', 'layer2.0.conv2', 'layer2.1.conv2'])
      expect(errorIn(name), name).toBeGreaterThan(1e-2)
    before.dispose()
    after.dispose()
  })

  it('makes a network with channels on different scales as good in int8 as one without', async () => {
    const [even, withIt, without] = [
      await errorOf(weights, equal),
      await errorOf(uneven, equal),
      await errorOf(uneven, foldedOnly),
    ]
    expect(withIt).toBeLessThan(1.3 * even)
    expect(without).toBeGreaterThan(1.5 * withIt)
  })

  it('is chosen where it helps, unless there are too few images to judge every channel by', async () => {
    const enough = Array.from({ length: 32 }, (_, i) => images[i % images.length]!)
    expect((await calibrate(bench, uneven, enough, 'max')).isEqualised).toBe(true)
    expect((await calibrate(bench, uneven, enough.slice(1), 'max')).isEqualised).toBe(false)
  })
})
