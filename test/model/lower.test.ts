import { describe, expect, it } from 'vitest'
import {
  add,
  batchNorm,
  channelGate,
  conv,
  convBN,
  formatPlan,
  globalAvgPool,
  input,
  linear,
  localAvgPool,
  lower,
  maxPool,
  type Network,
  type Op,
  opCost,
  type Plan,
  parametersOf,
  relu,
  resnet50,
  type Value,
} from '../../lib/index.ts'

const small = { height: 8, width: 8, mean: [0, 0, 0], std: [1, 1, 1] }

/** A network whose logits are `x`, pooled. */
function ending(x: Value): Network {
  return {
    name: 'test',
    graph: x.graph,
    outputs: { logits: linear(globalAvgPool(x), { name: 'fc', classes: 2 }) },
  }
}

const kinds = (plan: Plan) => plan.ops.map(op => op.kind)
const convs = (plan: Plan) => plan.ops.filter((op): op is Op & { kind: 'conv' } => op.kind === 'conv')
const names = (plan: Plan, op: Op & { kind: 'conv' }) => ({
  bn: op.batchNorm?.name ?? null,
  residual: op.residual === null ? null : plan.ops.find(other => other.dst === op.residual)!.name,
  relu: op.relu,
})

describe('lower', () => {
  it('turns ResNet-50 into one op per convolution, and nothing between them', () => {
    const plan = lower(resnet50(), { ...small, height: 224, width: 224 })
    expect(convs(plan)).toHaveLength(53)
    expect(new Set(kinds(plan))).toEqual(
      new Set(['normalize', 'conv', 'maxPool', 'globalAvgPool', 'linear', 'softmax']),
    )
    expect(plan.ops).toHaveLength(53 + 5)
    expect(convs(plan).every(op => op.batchNorm && op.convName)).toBe(true)
    expect(convs(plan).filter(op => op.residual !== null)).toHaveLength(16)
    expect(convs(plan).filter(op => !op.relu)).toHaveLength(4) // the projections
    const last = convs(plan).find(op => op.name === 'layer1.0.conv3')!
    expect(names(plan, last)).toEqual({ bn: 'layer1.0.bn3', residual: 'layer1.0.downsample.0', relu: true })
  })

  it('writes every value before it is read', () => {
    const plan = lower(resnet50(), { ...small, height: 64, width: 64 })
    const written = new Set<number>()
    for (const op of plan.ops) {
      if (op.kind !== 'normalize') expect(written).toContain(op.src)
      if (op.kind === 'conv' && op.residual !== null) expect(written).toContain(op.residual)
      expect(written).not.toContain(op.dst)
      written.add(op.dst)
    }
  })

  it('keeps the value between two layers if something else needs it', () => {
    const x = input()
    const y = convBN(x, { names: { conv: 'c', bn: 'b' }, channels: 4, kernel: 3, activation: null })
    const plan = lower(ending(add(relu(y), y)), small)
    expect(convs(plan).map(op => [op.name, names(plan, op)])).toEqual([
      ['c', { bn: 'b', residual: null, relu: false }],
      ['relu3', { bn: null, residual: null, relu: true }],
      ['add4', { bn: null, residual: 'c', relu: false }],
    ])
  })

  it('fuses the sum into the first summand, or into the second if the first cannot take it', () => {
    const x = convBN(input(), { names: { conv: 'stem', bn: 'b0' }, channels: 4, kernel: 3 })
    const a = conv(x, { name: 'a', channels: 4, kernel: 1 })
    const b = conv(x, { name: 'b', channels: 4, kernel: 1 })
    const both = lower(ending(add(a, b)), small)
    expect(convs(both).map(op => [op.name, names(both, op).residual])).toEqual([
      ['stem', null],
      ['b', null],
      ['a', 'b'],
    ])
    const y = convBN(input(), { names: { conv: 'stem', bn: 'b0' }, channels: 4, kernel: 3 })
    const second = lower(ending(add(y, conv(y, { name: 'c', channels: 4, kernel: 1 }))), small)
    expect(convs(second).map(op => [op.name, names(second, op).residual])).toEqual([
      ['stem', null],
      ['c', 'stem'],
    ])
  })

  it('runs what no convolution can absorb as a pass over the channels', () => {
    const pooled = maxPool(input(), { kernel: 2 })
    const plan = lower(ending(relu(batchNorm(pooled, { name: 'bn', epsilon: 0.1 }))), small)
    expect(kinds(plan)).toEqual(['normalize', 'maxPool', 'conv', 'globalAvgPool', 'linear', 'softmax'])
    expect(convs(plan)[0]).toMatchObject({
      groups: 3,
      kernel: 1,
      relu: true,
      convName: null,
      batchNorm: { name: 'bn', epsilon: 0.1 },
    })
  })

  it('adds a value to itself', () => {
    const x = conv(input(), { name: 'c', channels: 4, kernel: 1 })
    const plan = lower(ending(add(x, x)), small)
    expect(convs(plan).map(op => names(plan, op).residual)).toEqual([null, 'c'])
  })

  it('multiplies channels by what is 1x1 and as many channels, and shows by what', () => {
    const x = conv(input(), { name: 'c', channels: 4, kernel: 3 })
    const plan = lower(ending(channelGate(x, globalAvgPool(x))), small)
    expect(kinds(plan)).toEqual([
      'normalize',
      'conv',
      'globalAvgPool',
      'channelGate',
      'globalAvgPool',
      'linear',
      'softmax',
    ])
    expect(plan.ops[3]).toEqual({ kind: 'channelGate', name: 'channelgate3', src: 1, gate: 2, dst: 3 })
    expect(opCost(plan, plan.ops[3]!)).toEqual({
      flops: 8 * 8 * 4,
      weightBytes: 0,
      activationBytes: (2 * 8 * 8 * 4 + 4) * 4,
    })
    expect(formatPlan(plan)).toMatch(/^channelgate3 +channelGate +8x8x4 +8x8x4 +\* globalavgpool2 +0\.00/m)
    const y = input()
    expect(() => lower(ending(channelGate(y, relu(y))), small)).toThrow(
      /1x1x3 for the gate of 'channelgate2' .*8x8x3/,
    )
    expect(() => channelGate(x, input(4))).toThrow(TypeError)
    expect(() => channelGate(x, conv(x, { name: 'd', channels: 3, kernel: 1 }))).toThrow(/4 channels/)
  })

  it('leaves out layers that no output depends on, and fuses as if they were not there', () => {
    const x = conv(input(), { name: 'c', channels: 4, kernel: 1 })
    conv(x, { name: 'unused', channels: 8, kernel: 3 })
    const plan = lower(ending(relu(x)), small)
    expect(convs(plan).map(op => [op.name, op.relu])).toEqual([['c', true]])
  })

  it('fuses an average pool into the one remaining convolution that reads it', () => {
    const pooled = (x: Value) => {
      const y = localAvgPool(x, { kernel: 2 })
      conv(y, { name: 'unused', channels: 8, kernel: 1 })
      return y
    }
    const taken = ending(conv(pooled(input()), { name: 'c', channels: 4, kernel: 1 }))
    expect(convs(lower(taken, small)).map(op => [op.name, op.averaged])).toEqual([['c', true]])
    expect(() => lower(taken, { ...small, width: 7 })).toThrow(/the average pool before 'c'/)

    const x = input()
    const [network, featureMaps] = [ending(x), pooled(x)]
    const plan = lower({ ...network, outputs: { ...network.outputs, featureMaps } }, small)
    expect(convs(plan).map(op => [op.name, op.dst])).toEqual([['avgpool3', plan.outputs.featureMaps]])
  })

  it('keeps values that are outputs apart', () => {
    const x = conv(input(), { name: 'c', channels: 4, kernel: 1 })
    const network = ending(relu(x))
    const plan = lower({ ...network, outputs: { ...network.outputs, featureMaps: x } }, small)
    expect(convs(plan).map(op => op.relu)).toEqual([false, true])
    expect(plan.outputs.featureMaps).toBe(convs(plan)[0]!.dst)
  })

  it('says which layer an image is too small for', () => {
    const x = conv(input(), { name: 'wide', channels: 4, kernel: 9, padding: 0 })
    expect(() => lower(ending(x), small)).toThrow(/at least 9 pixels each way for the input of 'wide'.*8x8/)
  })

  it('refuses sums of different sizes', () => {
    const x = input()
    const a = conv(x, { name: 'a', channels: 4, kernel: 1 })
    const b = conv(x, { name: 'b', channels: 4, kernel: 1, stride: 2 })
    expect(() => lower(ending(add(a, b)), small)).toThrow(/8x8 for what is added to 'a' but received "4x4"/)
  })

  it('counts operations and bytes', () => {
    const x = convBN(input(), { names: { conv: 'c', bn: 'b' }, channels: 4, kernel: 3, stride: 2 })
    const plan = lower(ending(x), small)
    expect(opCost(plan, convs(plan)[0]!)).toEqual({
      flops: 4 * 4 * 4 * (2 * 27 + 2), // 4x4 pixels, 4 channels: 27 multiply-adds, bias, relu
      weightBytes: (4 * 27 + 4) * 4,
      activationBytes: (8 * 8 * 3 + 4 * 4 * 4) * 4,
    })
  })
})

describe('layers', () => {
  it('pad by half the kernel unless told otherwise', () => {
    const layer = (value: Value) => value.graph.layers[value.id]
    expect(layer(conv(input(), { name: 'c', channels: 1, kernel: 7 }))).toMatchObject({ padding: 3 })
    expect(layer(conv(input(), { name: 'c', channels: 1, kernel: 4 }))).toMatchObject({ padding: 1 })
    expect(layer(conv(input(), { name: 'c', channels: 1, kernel: 3, padding: 0 }))).toMatchObject({
      padding: 0,
    })
  })

  it('refuse groups that do not divide the channels, duplicate names and values of another graph', () => {
    const x = input(4)
    expect(() => conv(x, { name: 'c', channels: 4, kernel: 1, groups: 3 })).toThrow(RangeError)
    conv(x, { name: 'twice', channels: 4, kernel: 1 })
    expect(() => batchNorm(x, { name: 'twice' })).toThrow(/a name no other layer has/)
    expect(() => add(x, input(4))).toThrow(TypeError)
    expect(() => add(x, conv(x, { name: 'd', channels: 2, kernel: 1 }))).toThrow(RangeError)
    expect(() => maxPool(x, { kernel: 3, padding: 2 })).toThrow(RangeError)
  })

  it('name their parameters after the layers', () => {
    const x = convBN(input(), { names: { conv: 'a', bn: 'b' }, channels: 2, kernel: 3 })
    expect(parametersOf(ending(x)).map(p => [p.name, p.shape.join('x')])).toEqual([
      ['a.weight', '2x3x3x3'],
      ['b.weight', '2'],
      ['b.bias', '2'],
      ['b.running_mean', '2'],
      ['b.running_var', '2'],
      ['fc.weight', '2x2'],
      ['fc.bias', '2'],
    ])
  })
})

describe('formatPlan', () => {
  it('shows each operation with its shapes and what is fused into it', () => {
    const text = formatPlan(lower(resnet50(), { ...small, height: 224, width: 224 }))
    expect(text).toMatch(/^conv1 +conv +224x224x3 +112x112x64 +7x7\/2 pad 3 bn relu +\d/m)
    expect(text).toMatch(
      /^layer1\.0\.conv3 +conv +56x56x64 +56x56x256 +1x1 bn \+ layer1\.0\.downsample\.0 relu/m,
    )
    expect(text).toMatch(/^resnet50: 58 operations, 8\.\d+ GFLOP an image, 97\.\d MiB/m)
  })
})
