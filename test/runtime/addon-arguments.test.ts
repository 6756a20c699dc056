import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import type { Plan } from '../../lib/index.ts'
import { loadWeights } from '../../lib/runtime/load-weights.ts'
import {
  loadNative,
  type NativeSession,
  type ResizeGeometry,
  translateError,
} from '../../lib/runtime/native.ts'
import { tinyBytes, tinyPlan, tinyWeights } from '../support/tiny.ts'

// Getters lie, buffers go away, objects are of other realms: these calls go past lib/, and C++ has to be a match for them.

const { NativeSession: Native, resize, multiplyAddRate } = loadNative()

/** What came of a call: the code of its error, its class where that has none, or 'no error'. */
async function outcome(call: () => unknown): Promise<string> {
  try {
    await call()
    return 'no error'
  } catch (error) {
    const { code, name } = translateError(error) as { code?: string; name: string }
    return code ?? name
  }
}

type Loose = {
  values: Record<string, unknown>[]
  ops: Record<string, unknown>[]
  outputs: Record<string, unknown>
}
/** A title and what makes a plan wrong. */
type Change = [string, (plan: Loose) => unknown]
const changed = (change: Change[1]) => {
  const plan = structuredClone(tinyPlan) as unknown as Loose
  change(plan)
  return plan as unknown as Plan
}
const opened = (plan: Plan, options: object = {}) => outcome(() => new Native(plan, options))
const conv = tinyPlan.ops.findIndex(op => op.kind === 'conv')

/** An array whose element 0 changes it when it is read. */
function changing<T>(values: readonly T[], change: (array: T[]) => void): T[] {
  const array = [...values]
  const [first] = array
  Object.defineProperty(array, 0, {
    get: () => {
      change(array)
      return first
    },
  })
  return array
}

describe('a plan', () => {
  it.each([10, 20_000])(
    'whose arrays grow by %i while they are read is read as it was at first',
    async more => {
      const grow = (array: unknown[]) => {
        for (let i = 0; i < more; i++) array.push(array[1])
      }
      for (const name of ['mean', 'std'] as const) {
        const plan = changed(p => Object.assign(p.ops[0]!, { [name]: changing([1, 1, 1], grow) }))
        expect(await opened(plan), name).toBe('no error')
      }
      for (const name of ['values', 'ops'] as const) {
        const plan = changed(p => Object.assign(p, { [name]: changing(p[name], grow) }))
        expect(await opened(plan), name).toBe('no error')
      }
    },
  )

  it('whose arrays shrink while they are read is refused', async () => {
    const shrink = (array: unknown[]) => array.splice(1)
    for (const name of ['mean', 'std'] as const)
      expect(
        await opened(changed(p => Object.assign(p.ops[0]!, { [name]: changing([1, 1, 1], shrink) }))),
      ).toBe('PLAN_INVALID')
    for (const name of ['values', 'ops'] as const)
      expect(await opened(changed(p => Object.assign(p, { [name]: changing(p[name], shrink) })))).toBe(
        'PLAN_INVALID',
      )
    const algorithms = changing(
      tinyPlan.ops.map(() => ''),
      shrink,
    )
    expect(await opened(tinyPlan, { algorithms })).toBe('INTERNAL')
  })

  it('whose getters return another value each time is read once', async () => {
    let reads = 0
    const plan = changed(p =>
      Object.defineProperty(p.ops[conv]!, 'residual', { get: () => (reads++ === 0 ? null : 99) }),
    )
    expect(await opened(plan)).toBe('no error')
    expect(reads).toBe(1)
  })

  it('whose getters throw makes the session throw the same error', async () => {
    const plan = changed(p =>
      Object.defineProperty(p.ops[conv]!, 'kernel', {
        get: () => {
          throw new SyntaxError('mine')
        },
      }),
    )
    expect(() => new Native(plan, {})).toThrow(SyntaxError)
  })

  it.each<Change>([
    ...[0, -1, 1e-7, 1e-320, Number.NaN, 1e7, Number.POSITIVE_INFINITY].map(
      (std): Change => [`a std of ${std}`, p => Object.assign(p.ops[0]!, { std: [std, 1, 1] })],
    ),
    ...[1e300, -1e7, Number.NaN, '0', null].map(
      (mean): Change => [`a mean of ${mean}`, p => Object.assign(p.ops[0]!, { mean: [mean, 0, 0] })],
    ),
    ['a residual of -1', p => Object.assign(p.ops[conv]!, { residual: -1 })],
    ['no residual', p => Object.assign(p.ops[conv]!, { residual: undefined })],
    ["a relu of 'x'", p => Object.assign(p.ops[conv]!, { relu: 'x' })],
    ['a relu of 1', p => Object.assign(p.ops[conv]!, { relu: 1 })],
    ['a kernel of 2^32 + 1', p => Object.assign(p.ops[conv]!, { kernel: 2 ** 32 + 1 })],
    ['a dst of -1', p => Object.assign(p.ops[conv]!, { dst: -1 })],
    ['an output of -1', p => Object.assign(p.outputs, { logits: -1 })],
    ['an output of null', p => Object.assign(p.outputs, { features: null })],
    ['a name that is a number', p => Object.assign(p.ops[conv]!, { name: 7 })],
    ['values that are an object', p => Object.assign(p, { values: { length: 3 } })],
    ['values without end', p => Object.assign(p, { values: new Array(2 ** 32 - 1) })],
  ])('with %s is refused', async (_, change) => {
    expect(await opened(changed(change))).toBe('PLAN_INVALID')
  })

  it('of another realm is accepted', async () => {
    const plan = runInNewContext(`(${JSON.stringify(tinyPlan)})`) as Plan
    expect(await opened(plan, runInNewContext('({ threads: 2, isa: "" })') as object)).toBe('no error')
  })
})

describe('options', () => {
  const wrong: [string, unknown][] = [
    ['threads', 0],
    ['threads', 1.5],
    ['threads', 2 ** 32 + 1],
    ['threads', 1025],
    ['threads', '2'],
    ['threads', Number.NaN],
    ['exact', 1],
    ['exact', 'false'],
    ['isa', 3],
    ['isa', 'mmx'],
    ['deviceIndex', 2 ** 32],
    ['deviceIndex', -1],
    ['precision', null],
    ['batchSizes', [2, 1]],
    ['batchSizes', [1, 2 ** 32 + 2]],
    ['batchSizes', []],
    ['batchSizes', Object.assign([], { length: 2 ** 32 - 1 })],
    ['autotune', 0],
    ['cudaGraph', 'yes'],
    ['planCache', {}],
  ]
  it('of a session are refused if they are out of range or of the wrong type', async () => {
    for (const [name, value] of wrong)
      expect(await opened(tinyPlan, { [name]: value }), `${name}: ${typeof value}`).toMatch(
        /^(INTERNAL|BACKEND_UNAVAILABLE)$/,
      )
  })

  it('that are not an object are refused', async () => {
    for (const options of [null, 3, 'cpu'])
      expect(await opened(tinyPlan, options as unknown as object)).toBe('INTERNAL')
    expect(await outcome(() => new (Native as unknown as new () => NativeSession)())).toBe('PLAN_INVALID')
  })

  it('of a measurement are refused', async () => {
    for (const threads of [2 ** 32 + 1, 0, 1.5, '1'])
      expect(await outcome(() => multiplyAddRate('', 'fp32', threads as number, 1))).toBe('INTERNAL')
    for (const time of [Number.NaN, -1, Number.POSITIVE_INFINITY, '1'])
      expect(await outcome(() => multiplyAddRate('', 'fp32', 1, time as number))).toBe('INTERNAL')
    expect(await outcome(() => multiplyAddRate(undefined as unknown as string, 'fp32', 1, 1))).toBe(
      'INTERNAL',
    )
    for (const precision of ['fp8', '', 8])
      expect(await outcome(() => multiplyAddRate('', precision as string, 1, 1))).toBe('INTERNAL')
  })
})

describe('weights', () => {
  const arguments_ = () => ({
    op: 1 as unknown, // takes 8 x 3 numbers
    stored: new Uint8Array(96) as unknown,
    layout: 'KCRS' as unknown,
    type: 'F32' as unknown,
    scale: new Float64Array(8).fill(1) as unknown,
    bias: new Float32Array(8) as unknown,
  })
  const loaded = (changes: Partial<ReturnType<typeof arguments_>>) =>
    outcome(() => {
      const { op, stored, layout, type, scale, bias } = { ...arguments_(), ...changes }
      const load = new Native(tinyPlan, {}).loadWeights as (...all: unknown[]) => Promise<void>
      return load.call(new Native(tinyPlan, {}), op, stored, layout, type, scale, bias)
    })

  it.each<[string, object, string]>([
    ['an operation of 1.7', { op: 1.7 }, 'INTERNAL'],
    ['an operation of 2^32 + 1', { op: 2 ** 32 + 1 }, 'INTERNAL'],
    ['an operation of -1', { op: -1 }, 'INTERNAL'],
    ['a bias of bytes', { bias: new Uint8Array(8) }, 'INTERNAL'],
    ['a bias of as many bytes', { bias: new Uint8Array(32) }, 'INTERNAL'],
    ['a bias of float64', { bias: new Float64Array(8) }, 'INTERNAL'],
    ['a bias that is a view', { bias: new DataView(new ArrayBuffer(32)) }, 'INTERNAL'],
    ['a bias that is an array', { bias: new Array(8).fill(0) }, 'INTERNAL'],
    ['factors of float32', { scale: new Float32Array(8) }, 'INTERNAL'],
    ['factors of bytes', { scale: new Uint8Array(8) }, 'INTERNAL'],
    ['no factors', { scale: undefined }, 'INTERNAL'],
    ['bytes that are signed', { stored: new Int8Array(96) }, 'INTERNAL'],
    ['bytes that are floats', { stored: new Float32Array(96) }, 'INTERNAL'],
    ['no bytes', { stored: null }, 'INTERNAL'],
    ['a type that is a number', { type: 32 }, 'INTERNAL'],
    ['a layout that is an object', { layout: {} }, 'INTERNAL'],
    ['a bias of NaN', { bias: new Float32Array(8).fill(Number.NaN, 7) }, 'NON_FINITE'],
    ['a bias of infinity', { bias: new Float32Array(8).fill(Number.NEGATIVE_INFINITY, 0, 1) }, 'NON_FINITE'],
    ['a factor of NaN', { scale: new Float64Array(8).fill(Number.NaN, 3, 4) }, 'NON_FINITE'],
    ['a factor of infinity', { scale: new Float64Array(8).fill(Number.POSITIVE_INFINITY) }, 'NON_FINITE'],
    [
      'arrays of another realm',
      {
        stored: runInNewContext('new Uint8Array(96)'),
        scale: runInNewContext('new Float64Array(8)'),
        bias: runInNewContext('new Float32Array(8)'),
      },
      'no error',
    ],
  ])('with %s are handled correctly', async (_, changes, expected) => {
    expect(await loaded(changes)).toBe(expected)
  })

  it('of a file whose descriptor getter transfers the factors still use the original factors', async () => {
    const scale = new Float64Array(8).fill(1)
    const stored = {
      position: 0,
      get descriptor() {
        structuredClone(scale, { transfer: [scale.buffer] })
        return 0
      },
    }
    expect(await loaded({ stored, scale })).toBe('INTERNAL')
  })

  it('that are transferred and overwritten during loading are those of the call', async () => {
    const logits = async (disturb: boolean) => {
      const session = new Native(tinyPlan, {})
      const load: NativeSession['loadWeights'] = (op, stored, layout, type, scale, bias) => {
        const given = [(stored as Uint8Array).slice(), scale.slice(), bias.slice()] as const
        const loading = session.loadWeights(op, given[0], layout, type, given[1], given[2])
        if (disturb) for (const array of given) structuredClone(array, { transfer: [array.buffer] }).fill(7)
        return loading
      }
      await loadWeights(tinyPlan, tinyWeights, { loadWeights: load } as NativeSession, 1)
      return (await session.run(tinyBytes(1), ['logits'])).logits
    }
    expect(await logits(true)).toEqual(await logits(false))
  })
})

describe('a run', () => {
  it('refuses anything but a batch, whatever it claims to be', async () => {
    const session = new Native(tinyPlan, {})
    await loadWeights(tinyPlan, tinyWeights, session, 1)
    const run = (input: unknown, outputs: unknown = ['logits']) =>
      outcome(() => session.run(input as Uint8Array, outputs as ['logits']))
    const lying = Object.defineProperty(new Uint8Array(5), 'length', { value: 192 })
    for (const input of [
      undefined,
      null,
      {},
      [1],
      'x',
      new DataView(new ArrayBuffer(192)),
      lying,
      new ArrayBuffer(192),
    ])
      expect(await run(input)).toBe('INTERNAL')
    for (const outputs of ['logits', { length: 1, 0: 'logits' }, [7], [null], new Array(2 ** 32 - 1)])
      expect(await run(tinyBytes(1), outputs)).toBe('INTERNAL')
    const input = tinyBytes(1)
    const transferring = changing(['logits'], () => structuredClone(input, { transfer: [input.buffer] }))
    expect(await run(input, transferring)).toBe('INTERNAL')
    expect(await run(runInNewContext('new Uint8Array(192)'))).toBe('no error')
  })

  it('and every other method accepts only a session as `this`', async () => {
    const session = new Native(tinyPlan, {})
    const names = [
      'prepare',
      'run',
      'profile',
      'loadWeights',
      'description',
      'algorithms',
      'dispose',
    ] as const
    for (const name of names) {
      const method = session[name] as (...all: unknown[]) => unknown
      for (const other of [{}, Object.create(Native.prototype), tinyPlan, undefined, 7])
        expect(await outcome(() => method.call(other, tinyBytes(1), ['logits'])), name).not.toBe('no error')
    }
  })
})

describe('an image to resize', () => {
  const geometry: ResizeGeometry = {
    ...{ height: 600, width: 800, outHeight: 300, outWidth: 400 },
    ...{ top: 0, left: 0, cropHeight: 300, cropWidth: 400, filter: 'bicubic' },
  }
  const image = () => Uint8Array.from({ length: 600 * 800 * 3 }, (_, i) => (i * 7 + (i >> 8)) % 256)

  it('may be transferred and overwritten while it is resized', async () => {
    const expected = await resize(image(), geometry)
    const pixels = image()
    const resizing = resize(pixels, geometry)
    structuredClone(pixels, { transfer: [pixels.buffer] }).fill(0)
    expect(Buffer.compare(await resizing, expected)).toBe(0)
  })

  it('gives the same result if it is exclusive and not copied', async () => {
    const expected = await resize(image(), geometry)
    expect(Buffer.compare(await resize(image(), { ...geometry, exclusive: true }), expected)).toBe(0)
  })

  it.each<[string, object]>([
    ['a height of 2^32 + 600', { height: 2 ** 32 + 600 }],
    ['a width of 800.5', { width: 800.5 }],
    ['a filter that is a number', { filter: 1 }],
    ['another filter', { filter: 'lanczos' }],
    ['an exclusive of 1', { exclusive: 1 }],
  ])('is refused with %s', async (_, changes) => {
    expect(await outcome(() => resize(image(), { ...geometry, ...changes }))).toBe('INTERNAL')
  })

  it('is refused if it is not an image', async () => {
    for (const pixels of [new Int8Array(1440000), new Float32Array(1440000), [], null, undefined])
      expect(await outcome(() => resize(pixels as unknown as Uint8Array, geometry))).toBe('INTERNAL')
    for (const none of [undefined, null, 3])
      expect(await outcome(() => resize(image(), none as unknown as ResizeGeometry))).toBe('INTERNAL')
  })
})
