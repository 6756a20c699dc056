import { expect, it } from 'vitest'
import { errorCodes, lower, type Plan } from '../../lib/index.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { loadNative, type NativeSession } from '../../lib/runtime/native.ts'
import { takesWeights, weightShape } from '../../lib/weights/op-weights.ts'
import { storedBytes } from '../../lib/weights/tensors/stored-type.ts'
import { seeded } from '../support/files.ts'
import { quantizationOf } from '../support/quantizations.ts'
import { junk, ofOtherRealm, spoil, Thrown, typedArray } from './junk.ts'
import { Picker, randomNetwork } from './random-network.ts'

// Past lib/, straight at the addon: no plan, option or argument may crash it or throw what has no code.

const plans = Number(process.env.RESIDUAL_FUZZ_PLANS ?? 1500)
const seed = Number(process.env.RESIDUAL_FUZZ_SEED ?? 1)
const { NativeSession: Native, resize, multiplyAddRate } = loadNative()
const largestInput = 50_000 // numbers that a plan may want before it is not worth running

/** Whether the call succeeds. Fails for errors that are neither coded nor a getter's own. */
async function survives(call: () => unknown, what: string): Promise<boolean> {
  try {
    await call()
    return true
  } catch (error) {
    const { code } = error as { code?: string }
    const isKnown = error instanceof Thrown || (code !== undefined && Object.hasOwn(errorCodes, code))
    if (!isKnown) expect.fail(`${what} threw ${(error as Error)?.stack ?? String(error)}`)
    return false
  }
}

function randomPlan(pick: Picker): Plan {
  const { network, shape } = randomNetwork(pick.random, 4)
  const unit = { mean: Array(shape.channels).fill(0.5), std: Array(shape.channels).fill(0.25) }
  const plan = lower(network, { ...shape, ...unit })
  return structuredClone(pick.below(2) === 0 ? plan : reduced(pick, plan))
}

/** In bf16, or in int8 with any operations kept. */
function reduced(pick: Picker, plan: Plan): Plan {
  if (pick.below(3) === 0) return reducedPlan(plan, { precision: 'bf16' })
  const kept: { [op: string]: 'bf16' | 'fp32' } = {}
  for (const op of plan.ops)
    if (takesWeights(op) && pick.below(4) === 0) kept[op.name] = pick.from(['bf16', 'fp32'])
  const quantization = quantizationOf(plan, kept)
  return reducedPlan(plan, { precision: 'int8', quantization, bf16: pick.below(2) === 0 })
}

const randomOptions = (pick: Picker, ops: number): object => ({
  threads: 1 + pick.below(2),
  exact: pick.below(2) === 0,
  isa: pick.from(['', ...loadNative().capabilities()]),
  ...(pick.below(3) === 0 && {
    algorithms: Array.from({ length: ops }, () => pick.from(['', '', 'direct'])),
  }),
  ...(pick.below(4) === 0 && { batchSizes: [1, 2, 4], precision: 'fp16', deviceIndex: 0 }),
})

/** The arguments of loadWeights for an operation, one of them perhaps spoilt. */
function weightArguments(pick: Picker, plan: Plan, op: number): unknown[] {
  const target = plan.ops[op]!
  const shape = takesWeights(target) ? weightShape(plan, target) : [1, 1]
  const type = pick.from(['F32', 'F16', 'BF16', 'F64', 'I8'] as const)
  const count = shape.reduce((a, b) => a * b, 1)
  const stored = new Uint8Array(count * storedBytes[type]) // zeros
  const all: unknown[] = [
    op,
    stored,
    pick.from(['KCRS', 'RSCK']),
    type,
    new Float64Array(shape[0]!).fill(1),
    new Float32Array(shape[0]!).fill(pick.random()),
  ]
  if (pick.below(8) === 0) all[pick.below(all.length)] = pick.below(2) ? junk(pick) : typedArray(pick)
  if (pick.below(30) === 0) all[1] = { descriptor: junk(pick), position: junk(pick) }
  return all
}

/** Takes the memory of typed arrays away, of those that have any of their own. */
function transfer(values: readonly unknown[]): void {
  for (const value of values)
    if (ArrayBuffer.isView(value) && value.buffer instanceof ArrayBuffer && value.buffer.byteLength > 0)
      structuredClone(value, { transfer: [value.buffer] })
}

async function useSession(session: NativeSession, plan: Plan, pick: Picker): Promise<boolean> {
  const load = session.loadWeights.bind(session) as (...all: unknown[]) => Promise<void>
  for (const [op, { kind }] of plan.ops.entries()) {
    if (kind !== 'conv' && kind !== 'linear' && pick.below(10) > 0) continue
    const given = weightArguments(pick, plan, op)
    await survives(() => {
      const loading = load(...given)
      if (pick.below(3) === 0) transfer(given)
      return loading
    }, `loadWeights(${op})`)
  }
  const run = session.run.bind(session) as (...all: unknown[]) => Promise<object>
  await survives(() => run(junk(pick), junk(pick)), 'run')
  const { height, width, channels } = plan.values[plan.ops[0]!.dst]!
  const length = height * width * channels * (1 + pick.below(2))
  if (!(length > 0 && length < largestInput)) return false
  const Type = pick.from([Uint8Array, Float32Array])
  const input = pick.below(6) === 0 ? typedArray(pick, Type, length) : new Type(length).fill(pick.below(256))
  const outputs = ['logits', 'features', 'probabilities', 'featureMaps'].slice(pick.below(5))
  if (pick.below(8) === 0) spoil(outputs, pick)
  const ran = await survives(() => {
    const running = run(input, outputs)
    if (pick.below(3) === 0) transfer([input])
    return running
  }, 'run')
  if (pick.below(10) === 0) await survives(() => session.profile(input as Uint8Array), 'profile')
  return ran
}

it(
  `the addon survives ${plans} random plans and what is done to them (seed ${seed})`,
  async () => {
    const pick = new Picker(seeded(seed))
    let [accepted, ran] = [0, 0]
    for (let i = 0; i < plans; i++) {
      const plan = randomPlan(pick)
      const given: { plan: unknown; options: unknown } = {
        plan: structuredClone(plan),
        options: randomOptions(pick, plan.ops.length),
      }
      if (pick.below(10) === 0) given.plan = ofOtherRealm(plan)
      const spoilt = pick.below(3)
      for (let change = 0; change < spoilt; change++)
        spoil(pick.below(4) === 0 ? (given.options as object) : (given.plan as object), pick)
      if (pick.below(40) === 0) given[pick.from(['plan', 'options'] as const)] = junk(pick)
      let session: NativeSession | undefined
      const opened = await survives(() => {
        session = new Native(given.plan as Plan, given.options as object)
      }, `plan ${i}`)
      if (!opened || !session) continue
      accepted++
      if (await useSession(session, plan, pick)) ran++
      session.algorithms()
      session.dispose()
      await survives(() => session!.run(new Uint8Array(1), []), 'run')
    }
    console.log(`${plans} plans, ${accepted} accepted, ${ran} run`)
    expect(accepted).toBeGreaterThan(plans / 10)
    expect(ran).toBeGreaterThan(plans / 20)
  },
  60_000 + plans * 100,
)

it(
  `the addon’s functions survive ${plans} calls with anything (seed ${seed})`,
  async () => {
    const pick = new Picker(seeded(seed + 1))
    const geometry = () => {
      const [height, width] = [1 + pick.below(20), 1 + pick.below(20)]
      const [outHeight, outWidth] = [1 + pick.below(20), 1 + pick.below(20)]
      const out = {
        outHeight,
        outWidth,
        cropHeight: 1 + pick.below(outHeight),
        cropWidth: 1 + pick.below(outWidth),
      }
      const top = pick.below(outHeight - out.cropHeight + 1)
      const left = pick.below(outWidth - out.cropWidth + 1)
      return { height, width, ...out, top, left, filter: pick.from(['bilinear', 'bicubic'] as const) }
    }
    let resized = 0
    for (let i = 0; i < plans; i++) {
      const given = geometry()
      const pixels =
        pick.below(4) === 0 ? junk(pick) : typedArray(pick, Uint8Array, given.height * given.width * 3)
      if (pick.below(2) === 0) spoil(given, pick)
      const done = await survives(() => {
        const resizing = resize(pixels as Uint8Array, given)
        if (pick.below(3) === 0) transfer([pixels])
        return resizing
      }, `resize ${i}`)
      if (done) resized++
      await survives(
        () =>
          multiplyAddRate(
            junk(pick) as string,
            junk(pick) as string,
            junk(pick) as number,
            junk(pick) as number,
          ),
        'rate',
      )
    }
    expect(resized).toBeGreaterThan(plans / 10)
  },
  60_000 + plans * 100,
)
