import { describe, expect, it } from 'vitest'
import { createSession, formatPlan, lower, type Plan, planCost } from '../../lib/index.ts'
import { checkPlan, mostExtent } from '../../lib/model/check-plan.ts'
import { ops } from '../../lib/model/ops.ts'
import { valuePrecisions } from '../../lib/model/value.ts'
import { loadNative } from '../../lib/runtime/native.ts'
import { Picker, randomNetwork } from '../fuzz/random-network.ts'
import { seeded } from '../support/files.ts'
import { tinyPlan, tinyWeights } from '../support/tiny.ts'

const { info, NativeSession } = loadNative()

describe('the table of operations', () => {
  it('is the same in C++', () => {
    const rows = Object.entries(ops).map(([kind, row]) => ({
      kind,
      operands: row.operands.map(({ name, shape, optional }) => ({ name, shape, optional })),
      attributes: row.attributes.map(attribute => ({
        least: 0,
        most: attribute.type === 'integer' ? mostExtent : 0,
        ...attribute,
      })),
      extent: row.extent,
      channels: row.channels,
      weighted: row.weighted ?? false,
      activation: row.activation ?? false,
    }))
    for (const row of rows)
      for (const attribute of row.attributes) {
        attribute.least = Math.fround(attribute.least)
        attribute.most = Math.fround(attribute.most)
      }
    expect(info.operations).toEqual(rows)
  })

  it('has the precisions of C++', () => {
    expect(info.precisions).toEqual(Object.entries(valuePrecisions).map(([name, row]) => ({ name, ...row })))
  })
})

/** The message that `call` throws with PLAN_INVALID, or 'none'. */
function refusal(call: () => unknown): string {
  try {
    call()
    return 'none'
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    if (code !== 'PLAN_INVALID') throw error
    return message
  }
}

/** Sets a member of something in `plan` to a number that may be one too many, or to something else that JSON can say. */
function change(plan: Plan, pick: Picker): void {
  const holders: object[] = [...plan.values, ...plan.ops, plan.outputs]
  const holder = pick.from(holders) as { [member: string]: unknown }
  const name = pick.from([...Object.keys(holder), 'precision', 'scale'])
  const before = holder[name]
  const others = [
    null,
    -1,
    0,
    1,
    2,
    3,
    5,
    0.5,
    2 ** 20,
    2 ** 20 + 1,
    2e9,
    'conv',
    'maxPool',
    'fp16',
    'int8',
    'uint8',
    true,
    [],
    [1],
  ]
  if (typeof before === 'number' && pick.below(3) > 0) holder[name] = before + pick.from([-1, 1])
  else if (pick.below(10) === 0) delete holder[name]
  else holder[name] = pick.from(others)
}

describe('a plan', () => {
  it('is refused by TypeScript and C++ alike, in the same words', () => {
    const pick = new Picker(seeded(5))
    const messages = new Map<string, number>()
    for (let i = 0; i < 2000; i++) {
      const { network, shape } = randomNetwork(pick.random, 4)
      const unit = { mean: Array(shape.channels).fill(0.5), std: Array(shape.channels).fill(0.25) }
      const plan = structuredClone(lower(network, { ...shape, ...unit }))
      const changes = pick.below(3)
      for (let n = 0; n < changes; n++) change(plan, pick)
      const message = refusal(() => checkPlan(plan))
      const its = refusal(() => {
        try {
          new NativeSession(plan, {}).dispose()
        } catch (error) {
          // Sound, but not for the CPU.
          if ((error as { code?: string }).code !== 'PRECISION_UNSUPPORTED') throw error
        }
      })
      expect(its, JSON.stringify(plan)).toBe(message)
      const kind = message.replaceAll(/'.*?'|-?\d[\dxe.+-]*/g, '#')
      messages.set(kind, (messages.get(kind) ?? 0) + 1)
    }
    expect(messages.get('none')).toBeGreaterThan(500)
    expect(messages.size).toBeGreaterThan(30)
  })

  const withValue = (changes: object): Plan => ({
    ...tinyPlan,
    values: tinyPlan.values.map((value, i) => (i === 1 ? { ...value, ...changes } : value)) as Plan['values'],
  })

  it('may say how a value is kept; the CPU refuses combinations it has no kernels for', async () => {
    for (const changes of [
      { precision: 'bf16' },
      { precision: 'fp16' },
      { precision: 'int8', scale: 0.5 },
      { precision: 'uint8', scale: 0.5 },
    ]) {
      const plan = withValue(changes)
      expect(refusal(() => checkPlan(plan))).toBe('none')
      await expect(createSession(plan, tinyWeights, { device: 'cpu' })).rejects.toMatchObject({
        code: 'PRECISION_UNSUPPORTED',
        message: expect.stringMatching(
          changes.precision === 'fp16'
            ? /writes fp16, which the CPU backend has no kernels for/
            : new RegExp(`writes ${changes.precision} of fp32`),
        ),
      })
    }
    await using session = await createSession(withValue({ precision: 'fp32' }), tinyWeights, {
      device: 'cpu',
    })
    expect(session.device.kind).toBe('cpu')
  })

  it.each<[object, RegExp]>([
    [{ precision: 'fp8' }, /unknown precision 'fp8'/],
    [{ precision: 8 }, /precision must be a string/],
    [{ precision: 'int8' }, /scale is missing/],
    [{ precision: 'uint8' }, /scale is missing/],
    [{ precision: 'bf16', scale: 2 }, /scale is given for a precision without one/],
    [{ precision: 'int8', scale: 0 }, /scale out of range/],
    [{ precision: 'int8', scale: Number.NaN }, /scale out of range/],
    [{ precision: 'int8', scale: 1e300 }, /scale out of range/],
    [{ precision: 'int8', scale: '1' }, /scale must be a number/],
  ])('whose value is kept as %j is refused', async (changes, message) => {
    await expect(createSession(withValue(changes), tinyWeights)).rejects.toThrow(message)
    expect(refusal(() => new NativeSession(withValue(changes), {}))).toMatch(message)
  })

  it('may keep the bytes of images as they are, without a scale of their own', () => {
    const withImage = (scale: number): Plan => ({
      ...tinyPlan,
      values: [{ ...tinyPlan.values[0]!, precision: 'uint8', scale }, ...tinyPlan.values.slice(1)],
    })
    expect(refusal(() => checkPlan(withImage(1)))).toBe('none')
    for (const make of [checkPlan, (plan: Plan) => new NativeSession(plan, {})])
      expect(refusal(() => make(withImage(0.5)))).toMatch(
        /'normalize' writes bytes with a scale other than 1/,
      )
  })

  it('shows the precisions that are not fp32, and what they spare', () => {
    const text = formatPlan(withValue({ precision: 'int8', scale: 0.25 }))
    expect(text).toMatch(/^block\.conv1 +conv +8x8x3 +8x8x8 int8 \*0\.25 /m)
    expect(formatPlan(withValue({ precision: 'fp32' }))).toBe(formatPlan(tinyPlan))
    const [value, saved] = [
      tinyPlan.values[1]!,
      (kept: Plan) => planCost(tinyPlan).activationBytes - planCost(kept).activationBytes,
    ]
    const numbers = value.height * value.width * value.channels
    expect(saved(withValue({ precision: 'int8', scale: 0.25 }))).toBe(2 * 3 * numbers) // written once, read once
    expect(saved(withValue({ precision: 'bf16' }))).toBe(2 * 2 * numbers)
    // The next convolution is of 8x8 weights of 3x3; in 8 bits each channel has a scale as well.
    const spared = (kept: Plan) => planCost(tinyPlan).weightBytes - planCost(kept).weightBytes
    expect(spared(withValue({ precision: 'bf16' }))).toBe(2 * 9 * 8 * 8)
    expect(spared(withValue({ precision: 'int8', scale: 0.25 }))).toBe(3 * 9 * 8 * 8 - 4 * 8)
  })
})
