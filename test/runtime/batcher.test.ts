import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Batcher,
  type BatcherOptions,
  type BatchRunner,
  createSession,
  load,
  type OutputName,
  type Session,
} from '../../lib/index.ts'
import { seeded } from '../support/files.ts'
import { tinyBytes, tinyInput, tinyPlan, tinyWeights } from '../support/tiny.ts'

const coded = (code: string) => expect.objectContaining({ name: 'ResidualError', code })
const outputs = ['logits', 'features'] as const
const perImage = 8 * 8 * 3

let session: Session
beforeAll(async () => {
  session = await createSession(tinyPlan, tinyWeights, { device: 'cpu', threads: 1 })
})
afterAll(() => session.dispose())

/** A session whose runs begin when asked for and end when told to, and what batches it was given. */
function held() {
  const batches: { images: number; outputs: readonly OutputName[]; finish: (error?: Error) => void }[] = []
  const runner = {
    plan: tinyPlan,
    concurrency: 1,
    run: (pixels: Uint8Array | Float32Array, options: { outputs: readonly OutputName[] }) =>
      new Promise((resolve, reject) => {
        const finish = (error?: Error) => (error ? reject(error) : resolve(session.run(pixels, options)))
        batches.push({ images: pixels.length / perImage, outputs: options.outputs, finish })
      }),
  } as BatchRunner
  return { runner, batches }
}

/** Until everything that can happen without a timer of more than `ms` has happened. */
const settled = (ms = 5) => new Promise(resolve => setTimeout(resolve, ms))

/** Batch `i` of a held session, as soon as it has begun, however busy the machine is. */
async function begun<T>(batches: readonly T[], i: number): Promise<T> {
  while (batches.length <= i) await settled(1)
  return batches[i]!
}

const finish = async (batches: ReturnType<typeof held>['batches'], i: number, error?: Error) => {
  const batch = await begun(batches, i)
  batch.finish(error)
}

const ask = (batcher: Batcher, images: number, options = {}) =>
  batcher.run(tinyBytes(images), { outputs, ...options })

describe('a batcher', () => {
  it('runs a batch as soon as it is full, and the rest when the oldest has waited long enough', async () => {
    const { runner, batches } = held()
    const batcher = new Batcher([runner, held().runner], { maxBatch: 4, maxWaitMs: 60 })
    for (let i = 0; i < 4; i++) void ask(batcher, 1)
    await settled()
    expect(batches.map(({ images }) => images)).toEqual([4])
    const second = held()
    const alone = new Batcher([second.runner], { maxBatch: 4, maxWaitMs: 60 })
    const begin = performance.now()
    void ask(alone, 1)
    await settled(20)
    expect(second.batches).toEqual([])
    void ask(alone, 2)
    while (second.batches.length === 0) await settled()
    expect(performance.now() - begin).toBeGreaterThan(58)
    expect(second.batches.map(({ images }) => images)).toEqual([3])
  })

  it('fills the next batch while one runs', async () => {
    const { runner, batches } = held()
    const batcher = new Batcher([runner], { maxBatch: 8, maxWaitMs: 0 })
    const first = ask(batcher, 1)
    const others = [ask(batcher, 1), ask(batcher, 2), ask(batcher, 1)]
    await settled()
    expect([batches.length, batcher.waiting]).toEqual([1, 4])
    batches[0]!.finish()
    await first
    expect(batches.map(({ images }) => images)).toEqual([1, 4])
    batches[1]!.finish()
    const answers = await Promise.all(others)
    for (const { queueMs } of answers) expect(queueMs).toBeGreaterThan(4)
    expect(batcher.waiting).toBe(0)
  })

  it('keeps bytes and floats apart, and starts with whichever came first', async () => {
    const { runner, batches } = held()
    const reports: number[] = []
    const onBatch = ({ images }: { images: number }) => reports.push(images)
    const batcher = new Batcher([runner], { maxBatch: 8, maxWaitMs: 0, onBatch })
    const answers = [ask(batcher, 1), batcher.run(tinyInput(2), { outputs }), ask(batcher, 3)]
    answers.push(batcher.run(tinyInput(3), { outputs: ['probabilities'] as never }))
    for (let i = 0; i < 3; i++) {
      await finish(batches, i)
    }
    await Promise.all(answers)
    expect(batches.map(({ images }) => images)).toEqual([1, 5, 3])
    expect(batches[1]!.outputs).toEqual(['logits', 'features', 'probabilities'])
    expect(Object.keys((await answers[3]!).outputs)).toEqual(['probabilities'])
    expect(reports).toEqual([1, 5, 3])
  })

  it('uses all sessions it is given', async () => {
    const [one, two] = [held(), held()]
    const batcher = new Batcher([one.runner, two.runner], { maxBatch: 2, maxWaitMs: 0 })
    const answers = [ask(batcher, 2), ask(batcher, 2), ask(batcher, 2)]
    await settled()
    expect([one.batches.length, two.batches.length, batcher.waiting]).toEqual([1, 1, 2])
    two.batches[0]!.finish()
    await answers[1]
    expect([one.batches.length, two.batches.length, batcher.waiting]).toEqual([1, 2, 0])
    one.batches[0]!.finish()
    two.batches[1]!.finish()
    await Promise.all(answers)
  })

  it('refuses what does not fit in the queue, and accepts more once there is room', async () => {
    const { runner, batches } = held()
    const batcher = new Batcher([runner], { maxBatch: 2, maxWaitMs: 0, maxQueue: 3 })
    const accepted = [ask(batcher, 2), ask(batcher, 2)]
    await expect(ask(batcher, 2)).rejects.toEqual(coded('QUEUE_FULL'))
    accepted.push(ask(batcher, 1))
    await finish(batches, 0)
    await accepted[0]
    accepted.push(ask(batcher, 2))
    for (const i of [1, 2, 3]) await finish(batches, i)
    expect(await Promise.all(accepted)).toHaveLength(4)
  })

  it('frees the slots of a request that is aborted or late', async () => {
    const { runner, batches } = held()
    const batcher = new Batcher([runner], { maxBatch: 2, maxWaitMs: 0, maxQueue: 4 })
    const first = ask(batcher, 1)
    const controller = new AbortController()
    const aborted = ask(batcher, 3, { signal: controller.signal })
    const late = ask(batcher, 1, { timeoutMs: 20 })
    expect(batcher.waiting).toBe(4)
    controller.abort(new Error('gone'))
    await expect(aborted).rejects.toThrow('gone')
    expect(batcher.waiting).toBe(1)
    await expect(late).rejects.toEqual(coded('DEADLINE_EXCEEDED'))
    expect(batcher.waiting).toBe(0)
    batches[0]!.finish()
    await first
    await settled()
    expect(batches).toHaveLength(1)
    await expect(ask(batcher, 1, { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow(
      'before',
    )
  })

  it('gives the rest of a batch its results when one request vanishes during the run', async () => {
    const { runner, batches } = held()
    const batcher = new Batcher([runner], { maxBatch: 4, maxWaitMs: 0 })
    const blocker = ask(batcher, 1)
    const controller = new AbortController()
    const gone = ask(batcher, 6, { signal: controller.signal }) // its first three images will be under way
    const stays = ask(batcher, 1)
    await finish(batches, 0)
    await blocker
    await settled()
    controller.abort(new Error('gone'))
    await expect(gone).rejects.toThrow('gone')
    batches[1]!.finish()
    await settled()
    expect(batches.map(({ images }) => images)).toEqual([1, 4])
    expect((await stays).outputs.logits).toEqual((await session.run(tinyBytes(1))).logits)
  })

  it('lets small requests pass large ones, which keep half of every batch however many small ones come', async () => {
    const { runner, batches } = held()
    const batcher = new Batcher([runner], { maxBatch: 4, maxWaitMs: 0 })
    const done: string[] = []
    const send = (name: string, images: number) => ask(batcher, images).then(() => done.push(name))
    void send('first', 1)
    void send('large', 8)
    void send('medium', 3)
    for (const name of ['a', 'b', 'c']) void send(name, 1)
    let finished = 0
    const finishOne = async (more: string[]) => {
      await begun(batches, finished)
      for (const name of more) void send(name, 1)
      await finish(batches, finished++)
      if (batcher.waiting > 0)
        await begun(batches, finished) // results are dealt when it has
      else while (done.length === 0) await settled(1)
      await settled(1)
      return done.splice(0)
    }
    expect(await finishOne([])).toEqual(['first'])
    expect(await finishOne(['d', 'e'])).toEqual(['a', 'b']) // beside two of the large one
    expect(await finishOne(['f', 'g'])).toEqual(['c', 'd'])
    expect(await finishOne(['h', 'i'])).toEqual(['e', 'f'])
    expect(await finishOne([])).toEqual(['large', 'g', 'h']) // after twice as many batches as alone
    expect(await finishOne([])).toEqual(['medium', 'i'])
    expect(batches.map(({ images }) => images)).toEqual([1, 4, 4, 4, 4, 4])
    expect(batcher.waiting).toBe(0)
  })

  it('alternates bytes and floats when both wait', async () => {
    const { runner, batches } = held()
    const batcher = new Batcher([runner], { maxBatch: 4, maxWaitMs: 0 })
    const answers = [ask(batcher, 13), batcher.run(tinyInput(2), { outputs: ['logits'] })]
    for (let i = 0; i < 5; i++) {
      await finish(batches, i)
    }
    await Promise.all(answers)
    expect(batches.map(({ images }) => images)).toEqual([4, 2, 4, 4, 1])
  })

  it('fails the requests of a failed batch, and continues', async () => {
    const { runner, batches } = held()
    const batcher = new Batcher([runner], { maxBatch: 2, maxWaitMs: 0 })
    const failing = ask(batcher, 5).catch((error: Error) => error.message)
    const next = ask(batcher, 1)
    await finish(batches, 0, new Error('the device is gone'))
    expect(await failing).toBe('the device is gone')
    await finish(batches, 1)
    expect((await next).outputs.logits).toHaveLength(4)
    expect(batcher.waiting).toBe(0)
  })

  /** What a promise comes to: a message, or how many logits. */
  const outcome = (answer: Promise<{ outputs: { logits: Float32Array } }>) =>
    answer.then(
      ({ outputs }) => outputs.logits.length,
      (error: Error) => error.message,
    )

  it.each([1, 2])(
    'fails a request whose pixels were transferred while it waited, and no other: %i',
    async others => {
      const { runner, batches } = held()
      const batcher = new Batcher([runner], { maxBatch: 8, maxWaitMs: 0 })
      const first = ask(batcher, 1)
      const transferred = tinyBytes(2)
      const waiting = [
        outcome(batcher.run(transferred, { outputs })),
        ...Array.from({ length: others }, () => outcome(ask(batcher, 1))),
      ]
      structuredClone(transferred, { transfer: [transferred.buffer] })
      await finish(batches, 0)
      await first
      await finish(batches, 1)
      expect(await Promise.all(waiting)).toEqual([
        'Expected as many elements as when it was passed for the input but received "0 elements"',
        ...Array(others).fill(4),
      ])
      await batcher.close()
      expect(batches.map(({ images }) => images)).toEqual([1, others])
    },
  )

  it('continues and closes when nothing of a batch is left', async () => {
    const { runner, batches } = held()
    const reports: number[] = []
    const onBatch = ({ images }: { images: number }) => reports.push(images)
    const batcher = new Batcher([runner], { maxBatch: 2, maxWaitMs: 0, onBatch })
    const first = ask(batcher, 1)
    const transferred = tinyBytes(5)
    const gone = outcome(batcher.run(transferred, { outputs }))
    const last = ask(batcher, 1)
    structuredClone(transferred, { transfer: [transferred.buffer] })
    const closed = batcher.close()
    await finish(batches, 0)
    await first
    expect(await gone).toMatch(/as many elements as when it was passed/)
    await finish(batches, 1)
    expect((await last).outputs.logits).toHaveLength(4)
    await closed
    expect(batcher.waiting).toBe(0)
    expect(reports).toEqual([1, 1])
  })

  it('answers, continues and closes whatever its listener throws, and warns about it', async () => {
    const warnings: Error[] = []
    const listen = (warning: Error) => warnings.push(warning)
    process.on('warning', listen)
    const batcher = new Batcher([session], {
      maxBatch: 1,
      maxWaitMs: 0,
      onBatch: () => {
        throw new Error('the listener is broken')
      },
    })
    const answers = [ask(batcher, 1), ask(batcher, 1)]
    expect(await Promise.all(answers.map(outcome))).toEqual([4, 4])
    await batcher.close()
    await settled()
    process.off('warning', listen)
    expect(warnings.map(({ message }) => message)).toEqual(Array(2).fill('the listener is broken'))
  })

  it.each<[string, () => unknown]>([
    [
      'throws before it returns',
      () => {
        throw new Error('no memory')
      },
    ],
    ['returns nothing', () => undefined],
    ['lacks an output', async () => ({ logits: new Float32Array(4) })],
  ])('fails the batch of a session that %s, then continues and closes', async (_, run) => {
    const batcher = new Batcher([{ plan: tinyPlan, concurrency: 1, run } as unknown as BatchRunner], {
      maxWaitMs: 0,
    })
    for (let i = 0; i < 2; i++) await expect(ask(batcher, 1)).rejects.toThrow(Error)
    await batcher.close()
    expect(batcher.waiting).toBe(0)
  })

  it('fails only the batch that runs out of memory', async () => {
    const { runner, batches } = held()
    const batcher = new Batcher([runner], { maxBatch: 8, maxWaitMs: 0 })
    const first = ask(batcher, 1)
    const together = [outcome(ask(batcher, 1)), outcome(ask(batcher, 1))]
    const original = Uint8Array.prototype.set
    Uint8Array.prototype.set = () => {
      throw new RangeError('Array buffer allocation failed')
    }
    await finish(batches, 0)
    await first
    Uint8Array.prototype.set = original
    expect(await Promise.all(together)).toEqual(Array(2).fill('Array buffer allocation failed'))
    const next = ask(batcher, 1)
    await finish(batches, 1)
    expect((await next).outputs.logits).toHaveLength(4)
    await batcher.close()
  })

  it('refuses sessions of different networks', async () => {
    await using other = await load('resnet50-cifar10', { device: 'cpu', threads: 1 })
    expect(() => new Batcher([session, other.session])).toThrow(RangeError)
  })

  it('finishes accepted requests when it is closed, without waiting for more, and accepts nothing else', async () => {
    const batcher = new Batcher([session], { maxBatch: 4, maxWaitMs: 100_000 })
    const accepted = [ask(batcher, 1), ask(batcher, 6), batcher.run(tinyInput(1), { outputs })]
    const closed = batcher.close()
    await expect(ask(batcher, 1)).rejects.toEqual(coded('QUEUE_CLOSED'))
    await closed
    expect(batcher.close()).toBe(closed)
    expect(await Promise.all(accepted)).toHaveLength(3)
    await new Batcher([session]).close() // with nothing to do
  })

  it.each<[BatcherOptions, ErrorConstructor]>([
    [{ maxBatch: 0 }, RangeError as ErrorConstructor],
    [{ maxQueue: 1.5 }, RangeError as ErrorConstructor],
    [{ maxWaitMs: -1 }, RangeError as ErrorConstructor],
    [{ maxWaitMs: '2' as unknown as number }, TypeError as ErrorConstructor],
  ])('refuses the options %j', (options, type) => {
    expect(() => new Batcher([session], options)).toThrow(type)
  })

  it('refuses a request that would fail its batch', async () => {
    const batcher = new Batcher([session])
    await expect(batcher.run(tinyBytes(1).subarray(1), { outputs })).rejects.toThrow(RangeError)
    await expect(batcher.run([1] as unknown as Uint8Array, { outputs })).rejects.toThrow(TypeError)
    await expect(batcher.run(tinyBytes(1), { outputs: ['labels' as 'logits'] })).rejects.toThrow(RangeError)
    await expect(ask(batcher, 1, { timeoutMs: Number.NaN })).rejects.toThrow(RangeError)
    expect(() => new Batcher([])).toThrow(RangeError)
    await batcher.close()
  })
})

describe('what was batched together', () => {
  it('does not show in the answers, to the bit', async () => {
    await using classifier = await load('resnet50-cifar10', { device: 'cpu', threads: 2 })
    const [images, perImage] = [40, 64 * 64 * 3]
    const random = seeded(5)
    const bytes = Uint8Array.from({ length: images * perImage }, () => random() * 256)
    const floats = Float32Array.from(bytes, value => value / 60 - 2)
    const all = ['logits', 'probabilities', 'features'] as const
    const alone = []
    for (const pixels of [bytes, floats])
      for (let i = 0; i < images; i++) {
        const one = pixels.subarray(i * perImage, (i + 1) * perImage)
        alone.push(await classifier.run(one, { outputs: all }))
      }

    const { session } = classifier
    const batcher = new Batcher([session], { maxBatch: 16, maxWaitMs: 1 })
    const requests = Array.from({ length: 60 }, (_, i) => {
      const floating = random() < 0.5
      const from = Math.floor(random() * images)
      const to = from + 1 + Math.floor(random() * Math.min(images - from, i % 7 === 0 ? 40 : 4))
      const pixels = (floating ? floats : bytes).subarray(from * perImage, to * perImage)
      return { first: from + (floating ? images : 0), count: to - from, pixels }
    })
    const answers = await Promise.all(requests.map(({ pixels }) => batcher.run(pixels, { outputs: all })))
    await batcher.close()
    for (const [i, { first, count }] of requests.entries())
      for (const name of all) {
        const expected = alone.slice(first, first + count).map(one => Buffer.from(one[name].buffer))
        expect(Buffer.compare(Buffer.from(answers[i]!.outputs[name].buffer), Buffer.concat(expected))).toBe(0)
      }
  })
})
