import { describe, expect, it } from 'vitest'
import {
  add,
  channelGate,
  convBN,
  formatPlan,
  globalAvgPool,
  input,
  linear,
  lower,
  maxPool,
  type Network,
  type Plan,
  planCost,
  relu,
  resnet,
  type Value,
} from '../../lib/index.ts'
import { checkPlan } from '../../lib/model/check-plan.ts'
import { type Op, operandsOf, rowOf } from '../../lib/model/ops.ts'
import type { Quantization } from '../../lib/model/quantization.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { Picker, randomNetwork } from '../fuzz/random-network.ts'
import { seeded } from '../support/files.ts'
import { opCases } from '../support/op-cases.ts'
import { quantizationOf } from '../support/quantizations.ts'
import { tinyPlan } from '../support/tiny.ts'

const unit = (channels: number) => ({ mean: Array(channels).fill(0.5), std: Array(channels).fill(0.25) })
const lowered = (network: Network, size = 64): Plan =>
  lower(network, { height: size, width: size, ...unit(network.graph.channels[0]!) })

const int8 = (
  plan: Plan,
  { kept = {}, bf16 = true, ...changes }: Partial<Quantization> & { bf16?: boolean } = {},
) =>
  reducedPlan(plan, { precision: 'int8', quantization: { ...quantizationOf(plan, kept), ...changes }, bf16 })

const precisionsOf = (plan: Plan, values: readonly number[]) =>
  values.map(value => plan.values[value]!.precision ?? 'fp32')
/** What an operation reads and writes: `int8 + uint8 -> uint8`. */
function kindsOf(plan: Plan, name: string): string {
  const op = plan.ops.find(each => each.name === name)!
  const read = precisionsOf(
    plan,
    operandsOf(op).map(({ index }) => index),
  )
  return `${read.join(' + ')} -> ${precisionsOf(plan, [op.dst])}`
}
const conversions = (plan: Plan) => plan.ops.filter(({ kind }) => kind === 'convert').map(({ name }) => name)

/** Refuses a plan whose operations do not compute as the backend can. */
function checkReduced(plan: Plan): void {
  checkPlan(plan)
  for (const op of plan.ops) {
    const reads = operandsOf(op).map(({ index }) => plan.values[index]!)
    const [precisions, dst] = [reads.map(({ precision = 'fp32' }) => precision), plan.values[op.dst]!]
    const { precision = 'fp32' } = dst
    const families = new Set(precisions.map(each => (each === 'uint8' ? 'int8' : each)))
    const refuse = (what: string) => {
      throw new Error(`'${op.name}' ${what}:\n${formatPlan(plan)}`)
    }
    if (op.kind === 'conv' || op.kind === 'linear') {
      if (families.size !== 1) refuse('reads several precisions')
      const [family] = families
      const possible =
        family === 'int8' ? ['int8', 'uint8', 'fp32'] : family === 'bf16' ? ['bf16', 'fp32'] : ['fp32']
      if (!possible.includes(precision)) refuse(`writes ${precision}`)
      if (precision === 'uint8' && !(op.kind === 'conv' && op.relu)) refuse('may be negative')
    } else if (op.kind === 'maxPool') {
      if (precisions[0] !== precision || reads[0]!.scale !== dst.scale) refuse('changes what it pools')
    } else if (op.kind === 'normalize') {
      const readers = plan.ops.filter(other => operandsOf(other).some(({ index }) => index === op.dst))
      const asBytes = readers.every(other => other.kind === 'conv' && other.residual !== op.dst)
      if (precision === 'int8' || (precision === 'uint8' && !asBytes)) refuse('cannot be read so')
    } else if (op.kind === 'convert') {
      if (plan.values[op.src]!.precision === dst.precision) refuse('converts nothing')
      if (plan.ops[0]!.dst === op.src && precisions[0] === 'uint8') refuse('converts the bytes of images')
    } else {
      if (precision !== 'fp32') refuse(`writes ${precision}`)
      if (op.kind !== 'globalAvgPool' && precisions.some(each => each !== 'fp32')) refuse('reads few bits')
    }
  }
  for (const name of ['logits', 'probabilities', 'features'] as const) {
    const value = plan.outputs[name]
    if (value !== undefined && (plan.values[value]!.precision ?? 'fp32') !== 'fp32')
      throw new Error(`${name} is not float32`)
  }
}

/** The float32 plan that a reduced one was made of. */
function withoutConversions(plan: Plan): Plan {
  const origin = new Map<number, number>() // of values
  const values: Plan['values'][number][] = []
  const ops: Op[] = []
  for (const op of plan.ops) {
    if (op.kind === 'convert') {
      origin.set(op.dst, origin.get(op.src)!)
      continue
    }
    const { height, width, channels } = plan.values[op.dst]!
    origin.set(op.dst, values.push({ height, width, channels }) - 1)
    const operands = operandsOf(op).map(({ operand, index }) => [operand.name, origin.get(index)!])
    ops.push({ ...op, ...Object.fromEntries(operands), dst: values.length - 1 })
  }
  const outputs = Object.entries(plan.outputs).map(([name, value]) => [name, origin.get(value)!])
  return { name: plan.name, values, ops, outputs: Object.fromEntries(outputs) }
}

const networks: readonly [string, Network, number?][] = [
  ['ResNet-18', resnet({ layers: 18 })],
  ['ResNet-34 with projections everywhere', resnet({ layers: 34, projectFirst: true })],
  ['ResNet-50', resnet({ layers: 50 })],
  ['ResNet-50 v1', resnet({ layers: 50, stride: 'v1' })],
  ['ResNet-50-D', resnet({ layers: 50, deepStem: [32, 32], averagedShortcut: true })],
  ['ResNeXt-50', resnet({ layers: 50, groups: 32, widthPerGroup: 4 })],
  ...opCases.map(({ title, network, shape }): [string, Network, number] => [title, network, shape.height]),
]

describe('a plan in fewer bits', () => {
  it.each([
    ...networks.slice(0, 6).map(([title, network]) => [title, lowered(network)] as const),
    ...opCases.map(
      ({ title, network, shape }) => [title, lower(network, { ...shape, ...unit(shape.channels) })] as const,
    ),
  ])('of %s computes the same as operations can', (_, plan) => {
    for (const reduced of [
      reducedPlan(plan, { precision: 'bf16' }),
      int8(plan),
      int8(plan, {
        kept: Object.fromEntries(plan.ops.filter(op => rowOf(op).weighted).map(({ name }) => [name, 'bf16'])),
      }),
    ]) {
      checkReduced(reduced)
      expect(withoutConversions(reduced)).toEqual(plan)
    }
  })

  it('of a random network, with any operations kept, computes the same as operations can', () => {
    const pick = new Picker(seeded(23))
    const seen = new Set<string>()
    for (let i = 0; i < 600; i++) {
      const { network, shape } = randomNetwork(pick.random, 8)
      const plan = lower(network, { ...shape, ...unit(shape.channels) })
      const kept: { [op: string]: 'bf16' | 'fp32' } = {}
      for (const op of plan.ops)
        if (rowOf(op).weighted && pick.below(3) === 0) kept[op.name] = pick.from(['bf16', 'fp32'])
      const values = { ...quantizationOf(plan).values }
      if (pick.below(3) === 0) values.normalize = { type: 'int8', scale: 0.125 }
      const reduced =
        pick.below(4) === 0
          ? reducedPlan(plan, { precision: 'bf16' })
          : int8(plan, { kept, values, bf16: pick.below(2) === 0 })
      checkReduced(reduced)
      expect(withoutConversions(reduced)).toEqual(plan)
      for (const op of reduced.ops) seen.add(`${op.kind}: ${kindsOf(reduced, op.name)}`)
    }
    // What only few networks have occurs here.
    for (const one of [
      'normalize:  -> uint8',
      'normalize:  -> bf16',
      'maxPool: uint8 -> uint8',
      'maxPool: bf16 -> bf16',
      'convert: int8 -> bf16',
      'convert: fp32 -> uint8',
      'conv: int8 + uint8 -> uint8',
      'conv: bf16 + bf16 -> fp32',
      'conv: uint8 -> fp32',
      'channelGate: fp32 + fp32 -> fp32',
    ])
      expect([...seen].sort()).toContain(one)
  })

  it('of ResNet-50 in bf16 converts the features alone', () => {
    const plan = reducedPlan(lowered(resnet({ layers: 50 })), { precision: 'bf16' })
    expect(conversions(plan)).toHaveLength(1)
    expect(kindsOf(plan, 'normalize')).toBe(' -> bf16')
    expect(kindsOf(plan, 'layer2.0.conv3')).toBe('bf16 + bf16 -> bf16')
    expect(kindsOf(plan, 'fc')).toBe('bf16 -> fp32')
    expect(precisionsOf(plan, Object.values(plan.outputs))).toContain('fp32')
    expect(precisionsOf(plan, [plan.outputs.featureMaps!])).toEqual(['bf16'])
  })

  it('of ResNet-50 in int8 reads bytes and converts the features alone', () => {
    const given = lowered(resnet({ layers: 50 }))
    const plan = int8(given)
    expect(conversions(plan)).toHaveLength(1)
    expect(kindsOf(plan, 'normalize')).toBe(' -> uint8')
    expect(kindsOf(plan, 'conv1')).toBe('uint8 -> uint8')
    expect(kindsOf(plan, 'layer1.0.downsample.0')).toBe('uint8 -> int8')
    expect(kindsOf(plan, 'layer1.0.conv3')).toBe('uint8 + int8 -> uint8')
    expect(kindsOf(plan, 'layer1.1.conv3')).toBe('uint8 + uint8 -> uint8')
    expect(kindsOf(plan, 'fc')).toBe('int8 -> fp32')
    const pool = plan.ops.find(({ kind }) => kind === 'maxPool')!
    expect(plan.values[pool.dst]!.scale).toBe(2 / 64) // that of conv1
    expect(planCost(plan).weightBytes).toBeLessThan(0.27 * planCost(given).weightBytes)
    expect(planCost(plan).activationBytes).toBeLessThan(0.27 * planCost(given).activationBytes)
    expect(planCost(plan).flops).toBe(planCost(given).flops)
  })

  it('keeps operations in bf16 or fp32, and converts what they share with others', () => {
    const given = lowered(resnet({ layers: 18 }))
    const kept = { 'layer1.0.conv2': 'bf16', 'layer2.0.conv1': 'fp32', fc: 'bf16' } as const
    const plan = int8(given, { kept })
    expect(kindsOf(plan, 'layer1.0.conv1')).toBe('uint8 -> fp32') // read in bf16 alone
    expect(kindsOf(plan, 'layer1.0.conv2')).toBe('bf16 + bf16 -> fp32') // read in int8 alone
    expect(kindsOf(plan, 'layer1.1.conv2')).toBe('uint8 + uint8 -> uint8') // read by the projection, too
    expect(kindsOf(plan, 'layer2.0.conv1')).toBe('fp32 -> fp32')
    expect(kindsOf(plan, 'layer2.0.downsample.0')).toBe('uint8 -> int8')
    const without = int8(given, { kept, bf16: false })
    expect(kindsOf(without, 'layer1.0.conv2')).toBe('fp32 + fp32 -> fp32')
    expect(kindsOf(without, 'fc')).toBe('fp32 -> fp32')
    const both = int8(given, { kept: { 'layer1.1.conv2': 'bf16', 'layer2.0.conv1': 'bf16' } })
    expect(kindsOf(both, 'layer1.1.conv2')).toBe('bf16 + bf16 -> bf16')
    expect(kindsOf(both, 'layer1.1.conv2.uint8')).toBe('bf16 -> uint8') // for the projection
    for (const each of [plan, without, both]) checkReduced(each)
  })

  it('reads the image in floats where not convolutions in int8 alone do', () => {
    const given = lowered(resnet({ layers: 18 }))
    const kept = int8(given, { kept: { conv1: 'bf16' } })
    expect([kindsOf(kept, 'normalize'), kindsOf(kept, 'conv1')]).toEqual([' -> bf16', 'bf16 -> fp32'])
    // The residual is the image itself.
    const x = input(3)
    const y = relu(
      add(convBN(x, { channels: 3, kernel: 3, activation: null, names: { conv: 'a', bn: 'b' } }), x),
    )
    const plan = int8(lowered(ending(y), 8))
    expect([kindsOf(plan, 'normalize'), kindsOf(plan, 'a')]).toEqual([' -> bf16', 'bf16 + bf16 -> bf16'])
    // The pool is no convolution.
    const z = convBN(maxPool(input(3), { kernel: 2, stride: 2, padding: 0 }), {
      channels: 4,
      kernel: 1,
      names: { conv: 'a', bn: 'b' },
    })
    const pooled = int8(lowered(ending(z), 8))
    expect(kindsOf(pooled, 'normalize')).toBe(' -> fp32')
    expect(kindsOf(pooled, 'a')).toBe('int8 -> uint8')
  })

  it('quantizes normalised images that have a scale', () => {
    const given = lowered(resnet({ layers: 18 }))
    const values = { ...quantizationOf(given).values, normalize: { type: 'int8', scale: 0.02 } } as const
    const plan = int8(given, { values })
    expect([kindsOf(plan, 'normalize'), kindsOf(plan, 'conv1')]).toEqual([' -> fp32', 'int8 -> uint8'])
    expect(conversions(plan)[0]).toBe('normalize.int8')
  })

  it('gates channels in fp32', () => {
    const x = convBN(input(3), { channels: 8, kernel: 3, names: { conv: 'a', bn: 'an' } })
    const gate = convBN(globalAvgPool(x), { channels: 8, kernel: 1, names: { conv: 'g', bn: 'gn' } })
    const y = convBN(channelGate(x, gate), { channels: 8, kernel: 1, names: { conv: 'c', bn: 'cn' } })
    const given = lowered(ending(y), 8)
    const plan = int8(given)
    expect(kindsOf(plan, 'a')).toBe('uint8 -> fp32')
    expect(kindsOf(plan, 'g')).toBe('int8 -> fp32')
    expect(kindsOf(plan, 'c')).toBe('int8 -> uint8')
    expect(conversions(plan).length).toBe(3) // of both pools' results and the gated value
    checkReduced(plan)
  })

  it('writes fp32 where nothing reads a value in int8, or it has no scale', () => {
    const given = tinyPlan
    const { [given.ops.findLast(({ kind }) => kind === 'conv')!.name]: _, ...values } =
      quantizationOf(given).values
    const plan = int8(given, { values })
    expect(kindsOf(plan, 'block.conv3')).toBe('uint8 + int8 -> fp32')
    expect(kindsOf(int8(given), 'block.conv3')).toBe('uint8 + int8 -> uint8')
    expect(precisionsOf(plan, [plan.outputs.featureMaps!])).toEqual(['fp32'])
  })

  it.each<[string, Partial<Quantization>, RegExp]>([
    ['lacks a scale', { values: {} }, /no scale for 'normalize', which '.*' reads in int8/],
    ['has a scale of nothing', { values: { other: { type: 'int8', scale: 1 } } }, /scale for 'other'/],
    ['keeps nothing', { kept: { other: 'bf16' } }, /keeps 'other', which the network does not have/],
    ['keeps a pool', { kept: { softmax: 'bf16' } }, /keeps 'softmax', which has no weights/],
    [
      'keeps negative numbers as uint8',
      { values: { ...quantizationOf(tinyPlan).values, fc: { type: 'uint8', scale: 1 } } },
      /keeps 'fc' as uint8/,
    ],
    [
      'scales bytes',
      { values: { ...quantizationOf(tinyPlan).values, normalize: { type: 'uint8', scale: 0.5 } } },
      /bytes a scale of 0\.5/,
    ],
  ])('is refused of a quantization that %s', (_, changes, message) => {
    const kept = { ...changes.kept }
    const reduce = () =>
      reducedPlan(tinyPlan, {
        precision: 'int8',
        quantization: { ...quantizationOf(tinyPlan), ...changes, kept },
        bf16: true,
      })
    expect(reduce).toThrow(message)
    expect(reduce).toThrow(expect.objectContaining({ code: 'CHECKPOINT_MISMATCH' }))
  })
})

function ending(featureMaps: Value): Network {
  const features = globalAvgPool(featureMaps)
  const logits = linear(features, { name: 'fc', classes: 3 })
  return { name: 'small', graph: featureMaps.graph, outputs: { logits, features, featureMaps } }
}
