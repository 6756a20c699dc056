import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import {
  convBN,
  globalAvgPool,
  initialise,
  input,
  linear,
  lower,
  type Plan,
  parametersOf,
  resnet,
} from '../../lib/index.ts'
import type { Op } from '../../lib/model/plan.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { loadNative, type NativeAddon, type NativeOptions } from '../../lib/runtime/native.ts'
import { createSession } from '../../lib/runtime/session.ts'
import type { SessionOptions } from '../../lib/runtime/session-options.ts'
import { choiceKey, choicesFile } from '../../lib/runtime/tuning/algorithm-cache.ts'
import { CpuAutotune } from '../../lib/runtime/tuning/cpu-autotune.ts'
import { temporaryFolder } from '../support/files.ts'
import { relativeError } from '../support/golden.ts'
import { quantizationOf } from '../support/quantizations.ts'
import { algorithmsOf, isas } from '../support/reduced-runs.ts'
import { tinyPlan } from '../support/tiny.ts'

const network = resnet({ layers: 50, width: 0.25, classes: 5 })
const plan = lower(network, { height: 64, width: 64, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] })
const weights = initialise(parametersOf(network), 3)
const pixels = (count: number) =>
  Uint8Array.from({ length: count * 64 * 64 * 3 }, (_, i) => (i * 37 + (i >> 7) * 11) % 256)
const ways = new (loadNative().NativeSession)(plan, {}).algorithms()
const hasChoice = ways.map(names => names.length > 1)
const byTable = ways.map(([first]) => first ?? null)

const root = temporaryFolder()
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(root, 'cache-'))
})

describe('the fixed table', () => {
  const algorithmsOf = (options: { layers: 152; widthPerGroup?: number }) => {
    const large = lower(resnet(options), { height: 224, width: 224, mean: [0, 0, 0], std: [1, 1, 1] })
    const session = new (loadNative().NativeSession)(large, {})
    const algorithms = session.algorithms()
    session.dispose()
    return algorithms
  }

  it('uses Winograd for networks as large as ResNet-152', () => {
    expect(algorithmsOf({ layers: 152 }).filter(([first]) => first === 'winograd4').length).toBeGreaterThan(
      30,
    )
  })

  it('saves its memory for larger ones, but still offers it', () => {
    const wide = algorithmsOf({ layers: 152, widthPerGroup: 112 })
    expect(new Set(wide.map(([first]) => first))).toEqual(new Set([undefined, 'direct']))
    expect(wide.filter(all => all.includes('winograd4')).length).toBeGreaterThan(30)
  })
})

describe.each(loadNative().capabilities())('the fixed table on %s', isa => {
  /** What it chooses for one convolution of 3x3, from `channels` to as many, whose result is `size` x `size`. */
  function chosen(channels: number, size: number, { stride = 1, kernel = 3, exact = false } = {}) {
    const first = convBN(input(), { names: { conv: 'a', bn: 'b' }, channels, kernel: 1 })
    const x = convBN(first, { names: { conv: 'c', bn: 'd' }, channels, kernel, stride, padding: kernel >> 1 })
    const features = globalAvgPool(x)
    const logits = linear(features, { name: 'fc', classes: 2 })
    const network = { name: 'one', graph: x.graph, outputs: { logits, features, featureMaps: x } }
    const side = size * stride
    const small = lower(network, { height: side, width: side, mean: [0, 0, 0], std: [1, 1, 1] })
    const session = new (loadNative().NativeSession)(small, { isa, exact })
    const algorithms = session.algorithms()
    session.dispose()
    return algorithms[small.ops.findIndex(({ name }) => name === 'c')]![0]
  }

  it.each([
    [64, 56, 'winograd4'], // those of ResNet-50
    [128, 28, 'winograd4'],
    [256, 14, 'winograd4'], // 16 patches
    [512, 7, 'winograd2'], // 4 patches of 4x4, which would have many weights each
    [128, 7, 'winograd4'], // few weights
    [144, 7, 'winograd2'],
    [129, 7, 'direct'], // no whole vectors
    [256, 13, 'winograd4'],
    [256, 12, 'winograd2'], // 9 patches of 4x4
    [128, 4, 'winograd2'], // one patch of 4x4, 4 of 2x2
    [128, 3, 'direct'], // 4 patches of 2x2, which save too little
    [128, 2, 'direct'], // one
    [1, 56, 'direct'],
  ])('%i channels, side %i: %s', (channels, size, algorithm) => {
    expect(chosen(channels, size)).toBe(algorithm)
  })

  it.each([
    [128, 28, 'winograd4'],
    [256, 14, 'winograd2'],
    [512, 7, 'direct'],
  ])('%i channels with stride 2, to side %i: %s', (channels, size, algorithm) => {
    expect(chosen(channels, size, { stride: 2 })).toBe(algorithm)
  })

  it('does not use Winograd for less than two vectors of channels, other kernels or exact results', () => {
    const lanes = { avx512: 16, avx2: 8, baseline: 4 }[isa]!
    expect(chosen(2 * lanes, 56)).toBe('winograd4')
    expect(chosen(2 * lanes - 1, 56)).toBe('direct')
    for (const kernel of [1, 5, 7]) expect(chosen(64, 56, { kernel })).toBe('direct')
    expect(chosen(64, 56, { exact: true })).toBe('direct')
  })
})

/** The CPU's addon with a clock that says what `milliseconds` says; `timed` collects what was asked for, in order. */
function addonWithClock(milliseconds: (algorithm: string) => number) {
  const timed: { algorithm: string; plan: Plan; images: number }[] = []
  let open = 0
  const addon = loadNative()
  class NativeSession extends addon.NativeSession {
    readonly #plan: Plan
    readonly #algorithm: string
    constructor(plan: Plan, options: NativeOptions) {
      super(plan, options)
      this.#plan = plan
      this.#algorithm = options.algorithms?.at(-1) ?? ''
      open++
    }
    override async profile(input: Uint8Array | Float32Array) {
      const { height, width, channels } = this.#plan.values[0]!
      const images = input.length / (height * width * channels)
      const times = new Float64Array(this.#plan.ops.length)
      if (this.#algorithm === '') return times
      timed.push({ algorithm: this.#algorithm, plan: this.#plan, images })
      return times.fill(milliseconds(this.#algorithm), -1)
    }
    override dispose() {
      super.dispose()
      open--
    }
  }
  return { addon: { ...addon, NativeSession } as NativeAddon, timed, open: () => open }
}

const favouring = (favourite: string) => addonWithClock(algorithm => (algorithm === favourite ? 1 : 2))
const options = { threads: 1, isa: '' }
interface Asked {
  readonly maxBatch?: number
  readonly cache?: string
  readonly given?: NativeOptions
}
/** What a process that has chosen nothing before chooses. */
const choose = (addon: NativeAddon, { maxBatch = 4, cache = folder, given = options }: Asked = {}) =>
  new CpuAutotune().choose(addon, plan, given, maxBatch, cache)
const everywhere = (algorithm: string) => hasChoice.map(has => (has ? algorithm : ''))

const files = () => readdirSync(folder)
interface CacheFile {
  machine: string
  choices: { [name: string]: string }
}
const pathOf = () => join(folder, files()[0]!)
const read = (): CacheFile => JSON.parse(readFileSync(pathOf(), 'utf8'))
const changed = (change: (choice: string) => string): CacheFile => {
  const { machine, choices } = read()
  return {
    machine,
    choices: Object.fromEntries(Object.entries(choices).map(([name, choice]) => [name, change(choice)])),
  }
}

const side = { height: 16, width: 16, channels: 16 }
/** Of the plan's first convolution that can be computed in several ways. */
const firstKey = choiceKey({
  src: side,
  dst: side,
  kernel: 3,
  stride: 1,
  padding: 1,
  groups: 1,
  residual: false,
  relu: true,
})

describe('the key of a choice', () => {
  it('is that of the members, whatever their order, at every depth', () => {
    const { channels, ...rest } = side
    expect(choiceKey({ b: [1, 2], a: side })).toBe(choiceKey({ a: { channels, ...rest }, b: [1, 2] }))
    const keys = [
      { a: side },
      { a: { ...side, width: 1 } },
      { a: side, b: 1 },
      { a: side, b: '1' },
      { b: [1, 2] },
      { b: [2, 1] },
    ]
    expect(new Set(keys.map(choiceKey)).size).toBe(keys.length)
    expect(choiceKey(side)).toMatch(/^[0-9a-f]{16}$/)
  })
})

describe('choosing by timing on the CPU', () => {
  it.each(['direct', 'winograd2', 'winograd4'])('picks %s when it is the fastest', async favourite => {
    const { addon, timed, open } = favouring(favourite)
    expect(await choose(addon)).toEqual(everywhere(favourite))
    expect(timed.length).toBeGreaterThan(0)
    expect(timed.every(({ images }) => images === 4)).toBe(true)
    expect(open()).toBe(0)
  })

  it("keeps the table's choice unless another is at least 3 % faster", async () => {
    const op = hasChoice.indexOf(true)
    const [first, second] = ways[op]!
    const onePlan = (ms: number) => addonWithClock(algorithm => (algorithm === second ? ms : 1)).addon
    expect((await choose(onePlan(0.98), { cache: '' }))[op]).toBe(first)
    expect((await choose(onePlan(0.96), { cache: '' }))[op]).toBe(second)
  })

  it('times equal convolutions once, with everything fused into them', async () => {
    const { addon, timed } = favouring('direct')
    await choose(addon)
    const names = Object.keys(read().choices)
    expect(names[0]).toBe(firstKey)
    expect(names.length).toBeLessThan(hasChoice.filter(has => has).length)
    expect(timed).toHaveLength(names.length * /*ways=*/ 3 * /*rounds=*/ 8)
    const basic = resnet({ layers: 18, width: 0.25 })
    const residual = favouring('direct')
    const unit = { mean: [0, 0, 0], std: [1, 1, 1] }
    const basicPlan = lower(basic, { height: 32, width: 32, ...unit })
    await new CpuAutotune().choose(residual.addon, basicPlan, options, 2, '')
    const added = residual.timed.map(({ plan }) => plan.ops.at(-1) as { residual: number | null })
    expect(new Set(added.map(({ residual }) => residual))).toEqual(new Set([null, 1]))
  })

  it('times larger batches as batches of 8, and large images in smaller ones', async () => {
    const small = favouring('direct')
    await choose(small.addon, { maxBatch: 32 })
    expect(new Set(small.timed.map(({ images }) => images))).toEqual(new Set([8]))
    const x = convBN(input(), { names: { conv: 'a', bn: 'b' }, channels: 64, kernel: 1 })
    const featureMaps = convBN(x, { names: { conv: 'c', bn: 'd' }, channels: 64, kernel: 3 })
    const features = globalAvgPool(featureMaps)
    const logits = linear(features, { name: 'fc', classes: 3 })
    const large = { name: 'large', graph: x.graph, outputs: { logits, features, featureMaps } }
    const { addon, timed } = favouring('direct')
    const largePlan = lower(large, { height: 200, width: 200, mean: [0, 0, 0], std: [1, 1, 1] })
    await new CpuAutotune().choose(addon, largePlan, options, 32, '')
    expect(new Set(timed.map(({ images }) => images))).toEqual(new Set([6])) // of 2,560,000 numbers
  })

  it('times convolutions whose weights are spread over the kernel', async () => {
    const op = { ...plan.ops[hasChoice.indexOf(true)]!, averaged: true }
    const averaged = { ...plan, ops: plan.ops.with(hasChoice.indexOf(true), op as Op) }
    const chosen = await new CpuAutotune().choose(favouring('winograd2').addon, averaged, options, 1, '')
    expect(chosen).toEqual(everywhere('winograd2'))
  })

  it("times nothing in a second process that finds the first one's file, and follows it", async () => {
    await choose(favouring('winograd2').addon)
    expect(files()).toEqual([expect.stringMatching(/^cpu-[0-9a-f]{16}\.json$/)])
    const second = favouring('direct')
    expect(await choose(second.addon)).toEqual(everywhere('winograd2'))
    writeFileSync(pathOf(), JSON.stringify(changed(() => 'winograd4')))
    expect(await choose(second.addon)).toEqual(everywhere('winograd4'))
    expect(second.timed).toEqual([])
  })

  it.each<readonly [string, Asked]>([
    ['threads', { given: { ...options, threads: 2 } }],
    ['batches', { maxBatch: 3 }],
    ...(loadNative().capabilities().length > 1
      ? [['instruction sets', { given: { ...options, isa: 'baseline' } }] as const]
      : []),
  ])('times again for other %s', async (_, other) => {
    await choose(favouring('winograd2').addon)
    const { addon, timed } = favouring('direct')
    expect(await choose(addon, other)).toEqual(everywhere('direct'))
    expect(timed.length).toBeGreaterThan(0)
    expect(files()).toHaveLength(2)
  })

  it('times only what the file lacks, and adds it', async () => {
    await choose(favouring('winograd2').addon)
    const { machine, choices } = read()
    const { [firstKey]: left, ...rest } = choices
    expect(left).toBe('winograd2')
    writeFileSync(pathOf(), JSON.stringify({ machine, choices: { ...rest, 'of another network': 'fft' } }))
    const { addon, timed } = favouring('direct')
    const chosen = await choose(addon)
    expect(new Set(timed.map(({ plan }) => plan)).size).toBe(3)
    const first = hasChoice.indexOf(true)
    expect([chosen[first], chosen[hasChoice.lastIndexOf(true)]]).toEqual(['direct', 'winograd2'])
    expect(read().choices).toEqual({
      ...rest,
      'of another network': 'fft',
      [firstKey]: 'direct',
    })
  })

  it('keeps what another process has added to the file in the meantime', async () => {
    await choose(favouring('winograd2').addon)
    const { machine, choices } = read()
    writeFileSync(pathOf(), JSON.stringify({ machine, choices: {} }))
    const meanwhile = addonWithClock(() => {
      writeFileSync(pathOf(), JSON.stringify({ machine, choices: { 'of another network': 'direct' } }))
      return 1
    })
    await choose(meanwhile.addon)
    expect(read().choices).toMatchObject({ 'of another network': 'direct' })
    expect(Object.keys(read().choices)).toHaveLength(Object.keys(choices).length + 1)
  })

  it.each<[string, (file: CacheFile) => string]>([
    ['is empty', () => ''],
    ['is cut off', file => JSON.stringify(file).slice(0, -10)],
    ['holds null', () => 'null'],
    ['holds a number', () => '7'],
    ['is of another machine', file => JSON.stringify({ ...file, machine: 'a toaster' })],
    ['has no choices', ({ machine }) => JSON.stringify({ machine, choices: null })],
    ['has choices of the wrong type', ({ machine }) => JSON.stringify({ machine, choices: 'winograd2' })],
    ['has a list of choices', ({ machine }) => JSON.stringify({ machine, choices: [3] })],
    ['has names of no algorithm', () => JSON.stringify(changed(() => 'fastest'))],
    ['has names of what every object has', () => JSON.stringify(changed(() => 'constructor'))],
    ['has numbers for names', () => JSON.stringify(changed(() => 3 as unknown as string))],
    ['is far too large', file => `${JSON.stringify(file)}${' '.repeat(2 << 20)}`],
  ])('ignores a file that %s, and rewrites it', async (_, damage) => {
    await choose(favouring('winograd2').addon)
    writeFileSync(pathOf(), damage(read()))
    const { addon, timed } = favouring('direct')
    expect(await choose(addon)).toEqual(everywhere('direct'))
    expect(timed.length).toBeGreaterThan(0)
    expect(new Set(Object.values(read().choices))).toEqual(new Set(['direct']))
    expect(files()).toHaveLength(1)
  })

  it('times nothing if it cannot save the result, and says so at once', async () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const { addon, timed, open } = favouring('direct')
    const refused = await choose(addon, { cache: join(file, 'cache') }).catch(error => error)
    expect(refused).toMatchObject({ code: 'FILE_WRITE_FAILED' })
    expect(refused.message).toContain('RESIDUAL_CACHE_DIR')
    expect([timed.length, open()]).toEqual([0, 0])
  })

  it('keeps its choice and leaves nothing half-written if the file turns out to be unwritable', async () => {
    await choose(favouring('direct').addon)
    const { machine } = read()
    const taken = mkdtempSync(join(root, 'taken-'))
    mkdirSync(choicesFile(taken, machine))
    expect(await choose(favouring('winograd4').addon, { cache: taken })).toEqual(everywhere('winograd4'))
    expect(readdirSync(taken)).toHaveLength(1)
  })

  it('chooses once in a process, even without a folder and for several at once', async () => {
    const autotune = new CpuAutotune()
    const { addon, timed } = favouring('winograd2')
    const ask = (addon: NativeAddon, cache = '') => autotune.choose(addon, plan, options, 4, cache)
    expect(await Promise.all([ask(addon), ask(addon)])).toEqual([
      everywhere('winograd2'),
      everywhere('winograd2'),
    ])
    const before = timed.length
    await choose(favouring('direct').addon) // another process has written something else meanwhile
    expect(await ask(addon, folder)).toEqual(everywhere('winograd2'))
    expect(timed).toHaveLength(before)
    expect(before).toBe(Object.keys(read().choices).length * 3 * 8)
    expect(new Set(Object.values(read().choices))).toEqual(new Set(['direct']))
    const empty = mkdtempSync(join(root, 'empty-'))
    expect(await ask(addon, empty)).toEqual(everywhere('winograd2'))
    expect(readdirSync(empty)).toHaveLength(1)
  })

  it('times and writes nothing if results must be exact', async () => {
    const { addon, timed } = favouring('winograd2')
    const chosen = await choose(addon, { given: { ...options, exact: true } })
    expect(chosen).toEqual(plan.ops.map(() => ''))
    expect(timed).toEqual([])
    expect(files()).toEqual([])
  })

  it('closes what it opened when something fails, and can be called again', async () => {
    const autotune = new CpuAutotune()
    let healthy = false
    const { addon, open } = addonWithClock(() => {
      if (!healthy) throw Object.assign(new Error('No memory.'), { code: 'OUT_OF_MEMORY' })
      return 1
    })
    const ask = () => autotune.choose(addon, plan, options, 4, folder)
    await expect(ask()).rejects.toMatchObject({ name: 'ResidualError', code: 'OUT_OF_MEMORY' })
    expect(open()).toBe(0)
    expect(files()).toEqual([])
    healthy = true
    expect(await ask()).toEqual(ways.map(([first], i) => (hasChoice[i] ? first : '')))
    expect(open()).toBe(0)
  })
})

describe('in int8', () => {
  const quantization = quantizationOf(plan)
  const plan8 = reducedPlan(plan, { precision: 'int8', quantization, bf16: false })
  const waysOn = (isa: string) => algorithmsOf(plan8, { isa, threads: 1 })
  const isa = isas.find(isa => waysOn(isa).some(names => names.length > 1))

  it.skipIf(!isa)('chooses once for layers that differ only in scales, and changes no result', async () => {
    vi.stubEnv('RESIDUAL_CPU_ISA', isa)
    const open = (extra: SessionOptions) =>
      createSession(plan, { ...weights, quantization }, { device: 'cpu', maxBatch: 4, ...extra })
    await using tuned = await open({ autotune: true, planCache: folder })
    const ways8 = waysOn(isa!)
    for (const [i, algorithm] of tuned.algorithms.entries())
      if (algorithm !== null) expect(ways8[i]).toContain(algorithm)
    const shapes = plan8.ops.flatMap((op, i) => {
      if (op.kind !== 'conv' || ways8[i]!.length < 2) return []
      const { scale: _, ...src } = plan8.values[op.src]!
      return JSON.stringify([src, plan8.values[op.dst]!.precision])
    })
    const [file] = files()
    const { choices } = JSON.parse(readFileSync(join(folder, file!), 'utf8'))
    expect(Object.keys(choices)).toHaveLength(new Set(shapes).size)
    expect(new Set(shapes).size).toBeLessThan(shapes.length)
    await using fixed = await open({ autotune: false })
    expect((await tuned.run(pixels(3))).logits).toEqual((await fixed.run(pixels(3))).logits)
  })
})

describe('a session with autotune', () => {
  /** In a process that has chosen nothing before. */
  async function createSession(extra: SessionOptions = {}, given = plan) {
    vi.resetModules()
    const { createSession } = await import('../../lib/runtime/session.ts')
    const base = { device: 'cpu', threads: 1, maxBatch: 4, autotune: true, planCache: folder } as const
    return createSession(given, weights, { ...base, ...extra })
  }

  it("reports each operation's algorithm: the table's, or the one chosen", async () => {
    await using fixed = await createSession({ autotune: false })
    expect(fixed.algorithms).toEqual(byTable)
    expect(files()).toEqual([])
    await using tuned = await createSession()
    for (const [i, algorithm] of tuned.algorithms.entries())
      if (algorithm === null) expect(ways[i]).toEqual([])
      else expect(ways[i]).toContain(algorithm)
    expect(files()).toHaveLength(1)
  })

  it.each(['direct', 'winograd2', 'winograd4'])(
    'computes by what the file says, %s, and gives each image the same bits whatever it is batched with',
    async algorithm => {
      await using exact = await createSession({ exact: true })
      await using first = await createSession()
      expect(first.algorithms).toHaveLength(plan.ops.length)
      writeFileSync(pathOf(), JSON.stringify(changed(() => algorithm)))
      await using session = await createSession()
      expect(session.algorithms).toEqual(byTable.map((name, i) => (hasChoice[i] ? algorithm : name)))
      const together = await session.run(pixels(7))
      expect(relativeError(together.logits, (await exact.run(pixels(7))).logits)).toBeLessThan(1e-5)
      for (const i of [0, 3, 6]) {
        const alone = await session.run(pixels(7).subarray(i * 64 * 64 * 3, (i + 1) * 64 * 64 * 3))
        expect(together.logits.subarray(i * 5, (i + 1) * 5)).toEqual(alone.logits)
      }
    },
  )

  it('is exact on request, whatever a file says', async () => {
    await (await createSession()).dispose()
    writeFileSync(pathOf(), JSON.stringify(changed(() => 'winograd4')))
    await using exact = await createSession({ exact: true })
    expect(new Set(exact.algorithms)).toEqual(new Set(['direct', null]))
    await using plain = await createSession({ exact: true, autotune: false })
    expect((await exact.run(pixels(1))).logits).toEqual((await plain.run(pixels(1))).logits)
  })

  it('writes no files without a folder', async () => {
    vi.stubEnv('RESIDUAL_CACHE_DIR', folder)
    await using session = await createSession({ planCache: null })
    expect(session.algorithms).toHaveLength(plan.ops.length)
    expect(files()).toEqual([])
    vi.unstubAllEnvs()
  })

  it('refuses anything but a boolean, and invalid plans', async () => {
    const wrong = { autotune: 'yes' as unknown as boolean }
    await expect(createSession(wrong)).rejects.toThrow(TypeError)
    const ops = tinyPlan.ops.map((op, i) => (i === 1 ? { ...op, stride: 0 } : op)) as Plan['ops']
    await expect(createSession({}, { ...tinyPlan, ops })).rejects.toMatchObject({ code: 'PLAN_INVALID' })
  })
})
