import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import {
  Batcher,
  basicBlock,
  batchNorm,
  bottleneck,
  type Classifier,
  compilePlan,
  conv,
  convBN,
  createSession,
  fromTensors,
  type Images,
  input,
  linear,
  load,
  localAvgPool,
  maxPool,
  openModel,
  pull,
  resnet,
  saveModel,
  saveNetwork,
  writeSafetensors,
} from '../../lib/index.ts'
import { temporaryFolder } from '../support/files.ts'
import { tinyBytes, tinyNetwork, tinyPlan, tinyWeights } from '../support/tiny.ts'

const folder = temporaryFolder()
const ship = join(packageRoot, 'samples', 'ship.jpg')
const name = 'resnet50-cifar10'
const misuse = /^Expected .+ for .+ but received .+$/

let classifier: Classifier
beforeAll(async () => {
  classifier = await load(name, { device: 'cpu', threads: 1 })
})
afterAll(() => classifier.close())

/** What a promise rejects with. */
const failure = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => new Error('It was accepted'),
    (error: Error) => error,
  )

/** Every function that takes options, with these in their place. */
const takers: [string, (options: never) => unknown][] = [
  ['load', options => load(name, options)],
  ['openModel', options => openModel(name, options)],
  ['the preprocessing of openModel', options => openModel(name, { preprocessing: options })],
  ['classify', options => classifier.classify([ship], options)],
  ['each', options => classifier.each([ship], options).next()],
  ['prepare', options => classifier.prepare(ship, options)],
  ['run', options => classifier.run(new Uint8Array(64 * 64 * 3), options)],
  ['profile', options => classifier.session.profile(new Uint8Array(64 * 64 * 3), options)],
  ['createSession', options => createSession(tinyPlan, tinyWeights, options)],
  ['Batcher', options => new Batcher([classifier.session], options)],
  ['Batcher.run', options => new Batcher([classifier.session]).run(new Uint8Array(64 * 64 * 3), options)],
  ['pull', options => pull('resnet18', options)],
  ['compilePlan', options => compilePlan(tinyPlan, options)],
  ['writeSafetensors', options => writeSafetensors(join(folder, 'x.safetensors'), [], options)],
  ['saveNetwork', options => saveNetwork(join(folder, 'x.safetensors'), tinyNetwork, tinyWeights, options)],
  [
    'saveModel',
    options =>
      saveModel(
        join(folder, 'x.safetensors'),
        { architecture: { layers: 18 }, weights: tinyWeights },
        options,
      ),
  ],
  ['resnet', options => resnet(options)],
  ['conv', options => conv(input(), options)],
  ['batchNorm', options => batchNorm(input(), options)],
  ['convBN', options => convBN(input(), options)],
  ['maxPool', options => maxPool(input(), options)],
  ['localAvgPool', options => localAvgPool(input(), options)],
  ['linear', options => linear(input(), options)],
  ['bottleneck', options => bottleneck(input(), options)],
  ['basicBlock', options => basicBlock(input(), options)],
]

describe.each(takers)('the options of %s', (_, take) => {
  const taken = async (options: unknown): Promise<unknown> => take(options as never)

  it.each([null, 'cpu', 7, [], () => {}])('are refused if they are %o', async options => {
    const error = await failure(taken(options))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toMatch(misuse)
  })

  it('are refused with the name of an unknown member', async () => {
    const error = await failure(taken({ thread: 1 }))
    expect(error).toBeInstanceOf(RangeError)
    expect(error.message).toMatch(/^Expected members .+ but received "thread"$/)
  })
})

describe('an invalid call', () => {
  const bytes = new Uint8Array(64 * 64 * 3)
  it.each<[string, () => unknown, ErrorConstructor]>([
    [
      'each without options',
      () => classifier.each([ship], undefined as never),
      TypeError as ErrorConstructor,
    ],
    ['each without outputs', () => classifier.each([ship], {} as never), TypeError as ErrorConstructor],
    ['each of a path', () => classifier.each(ship, { outputs: ['logits'] }), TypeError as ErrorConstructor],
    [
      'each of bytes',
      () => classifier.each(bytes as never, { outputs: ['logits'] }),
      TypeError as ErrorConstructor,
    ],
    [
      'each of nothing',
      () => classifier.each(null as never, { outputs: ['logits'] }),
      TypeError as ErrorConstructor,
    ],
    [
      'each of a number',
      () => classifier.each(5 as never, { outputs: ['logits'] }),
      TypeError as ErrorConstructor,
    ],
    [
      'each by no batch',
      () => classifier.each([ship], { outputs: ['logits'], batch: 0 }),
      RangeError as ErrorConstructor,
    ],
    [
      'each of an output that does not exist',
      () => classifier.each([ship], { outputs: ['labels' as 'logits'] }),
      RangeError as ErrorConstructor,
    ],
    ['classify a path', () => classifier.classify(ship), TypeError as ErrorConstructor],
    ['classify a number', () => classifier.classify([7 as never]), TypeError as ErrorConstructor],
    [
      'classify under no signal',
      () => classifier.classify([ship], { signal: {} as never }),
      TypeError as ErrorConstructor,
    ],
    ['load of nothing', () => load(undefined as never), TypeError as ErrorConstructor],
    ['openModel of an object', () => openModel({} as never), TypeError as ErrorConstructor],
    ['top of nothing', () => classifier.top(undefined as never), TypeError as ErrorConstructor],
    ['top of an array', () => classifier.top([1, 2] as never), TypeError as ErrorConstructor],
    ['top of two images', () => classifier.top(new Float32Array(20)), RangeError as ErrorConstructor],
    [
      'top without a count',
      () => classifier.top(new Float32Array(10), null as never),
      TypeError as ErrorConstructor,
    ],
    ['top of none', () => classifier.top(new Float32Array(10), 0), RangeError as ErrorConstructor],
    [
      'a map of too little',
      () => classifier.activationMap(new Float32Array(3), 0),
      RangeError as ErrorConstructor,
    ],
    ['a map of an array', () => classifier.activationMap([1] as never, 0), TypeError as ErrorConstructor],
    [
      'a map of a class that is none',
      () => classifier.activationMap(new Float32Array(2 * 2 * 512), 10),
      RangeError as ErrorConstructor,
    ],
    ['a batcher of nothing', () => new Batcher(undefined as never), TypeError as ErrorConstructor],
    ['a batcher of an object', () => new Batcher([{}] as never), TypeError as ErrorConstructor],
    [
      'a batcher with a listener that is none',
      () => new Batcher([classifier.session], { onBatch: 5 as never }),
      TypeError as ErrorConstructor,
    ],
    [
      'an activation that does not exist',
      () =>
        convBN(input(), {
          names: { conv: 'a', bn: 'b' },
          channels: 8,
          kernel: 3,
          activation: 'gelu' as 'relu',
        }),
      RangeError as ErrorConstructor,
    ],
    [
      'a file of numbers that do not exist',
      () => writeSafetensors(join(folder, 'x.safetensors'), [], { dtype: 'F64' as never }),
      RangeError as ErrorConstructor,
    ],
  ])('%s is refused in the promised form', async (_, call, type) => {
    const error = await failure((async () => call())())
    expect(error).toBeInstanceOf(type)
    expect(error.message).toMatch(misuse)
  })
})

describe('images', () => {
  const labels = async (images: Images) => {
    const predictions = await classifier.classify(images, { topK: 1, batch: 2 })
    return predictions.map(([first]) => first!.label)
  }
  const names = ['frog', 'ship', 'truck']
  const paths = names.map(label => join(packageRoot, 'samples', `${label}.jpg`))

  it('may be a Set, a generator or an async generator', async () => {
    expect(await labels(new Set(paths))).toEqual(names)
    function* generated() {
      yield* paths
    }
    expect(await labels(generated())).toEqual(names)
    async function* awaited() {
      for (const path of paths) yield path
    }
    expect(await labels(awaited())).toEqual(names)
  })

  it('are read at most two batches ahead, and their source is closed when no more are wanted', async () => {
    let taken = 0
    let ended = false
    function* endless() {
      try {
        for (;;) {
          taken++
          yield ship
        }
      } finally {
        ended = true
      }
    }
    let results = 0
    for await (const result of classifier.each(endless(), { outputs: ['logits'], batch: 2 })) {
      expect('error' in result).toBe(false)
      if (++results === 3) break
    }
    expect(taken).toBeLessThanOrEqual(6)
    expect(ended).toBe(true)
  })

  it("fail with their source's error", async () => {
    function* failing() {
      yield ship
      throw new Error('the list is torn')
    }
    await expect(labels(failing())).rejects.toThrow('the list is torn')
  })
})

describe('a signal', () => {
  const gone = new Error('no longer wanted')

  it.each<[string, (signal: AbortSignal) => Promise<unknown>]>([
    ['load', signal => load(name, { signal })],
    ['openModel', signal => openModel(name, { signal })],
    ['createSession', signal => createSession(tinyPlan, tinyWeights, { device: 'cpu', signal })],
    ['classify', signal => classifier.classify([ship], { signal })],
    ['classify nothing', signal => classifier.classify([], { signal })],
    ['each', signal => classifier.each([ship], { outputs: ['logits'], signal }).next()],
    ['prepare', signal => classifier.prepare(ship, { signal })],
    ['run', signal => classifier.run(new Uint8Array(64 * 64 * 3), { signal })],
    ['profile', signal => classifier.session.profile(new Uint8Array(64 * 64 * 3), { signal })],
    ['compilePlan', signal => compilePlan(tinyPlan, { gpu: '{}', batch: 1, out: null, signal })],
    [
      'saveNetwork',
      signal => saveNetwork(join(folder, 'aborted.safetensors'), tinyNetwork, tinyWeights, { signal }),
    ],
  ])('that is already aborted stops %s from starting', async (_, begin) => {
    await expect(begin(AbortSignal.abort(gone))).rejects.toBe(gone)
  })

  /** As those of Jest's environments are: all that a signal has, but not of this realm's class. */
  function foreign(signal: AbortSignal): AbortSignal {
    return {
      get aborted() {
        return signal.aborted
      },
      get reason() {
        return signal.reason
      },
      addEventListener: signal.addEventListener.bind(signal),
      removeEventListener: signal.removeEventListener.bind(signal),
    } as AbortSignal
  }

  it.each([
    ['this realm', (signal: AbortSignal) => signal],
    ['another realm', foreign],
  ])('of %s ends classify midway', async (_, as) => {
    await expect(classifier.prepare(ship, { signal: as(AbortSignal.abort(gone)) })).rejects.toBe(gone)
    const stop = new AbortController()
    let taken = 0
    function* endless() {
      for (;;) {
        if (++taken === 5) stop.abort(gone)
        yield ship
      }
    }
    await expect(classifier.classify(endless(), { batch: 1, signal: as(stop.signal) })).rejects.toBe(gone)
    expect(taken).toBeLessThan(10)
  })

  it('stops loading weights between two operations', async () => {
    const stop = new AbortController()
    let read = 0
    const weights = {
      ...fromTensors(new Map()),
      names: () => tinyWeights.names(),
      shape: (tensor: string) => tinyWeights.shape(tensor),
      read: async (tensor: string) => {
        read++
        stop.abort(gone)
        return tinyWeights.read(tensor)
      },
    }
    const creating = createSession(tinyPlan, weights, { device: 'cpu', threads: 1, signal: stop.signal })
    await expect(creating).rejects.toBe(gone)
    // Two operations are under way, of five tensors each.
    expect(read).toBeLessThanOrEqual(10)
    expect([...tinyWeights.names()].length).toBeGreaterThan(20)
  })

  it('leaves a file that was about to be replaced as it was', async () => {
    const path = join(folder, 'kept.safetensors')
    await saveNetwork(path, tinyNetwork, tinyWeights)
    const stop = new AbortController()
    const writing = writeSafetensors(
      path,
      [0, 1].map(i => ({
        name: `t${i}`,
        shape: [1],
        read: async () => {
          stop.abort(gone)
          return new Float32Array(1)
        },
      })),
      { signal: stop.signal },
    )
    await expect(writing).rejects.toBe(gone)
    await saveNetwork(path, tinyNetwork, tinyWeights, {})
  })

  it('of a split batch stops the next part from running', async () => {
    await using session = await createSession(tinyPlan, tinyWeights, {
      device: 'cpu',
      threads: 1,
      maxBatch: 1,
    })
    const stop = new AbortController()
    const running = session.run(tinyBytes(500), { signal: stop.signal })
    stop.abort(gone)
    await expect(running).rejects.toBe(gone)
    expect((await session.run(tinyBytes(1))).logits).toHaveLength(4)
  })
})
