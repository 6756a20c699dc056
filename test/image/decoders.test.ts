import sharp from 'sharp'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { decodersAtOnce, decoding } from '../../lib/image/decoders.ts'
import { type Classifier, load } from '../../lib/index.ts'

let classifier: Classifier
let image: Buffer
beforeAll(async () => {
  classifier = await load('resnet50-cifar10', { device: 'cpu', threads: 1 })
  image = await sharp({ create: { width: 1000, height: 800, channels: 3, background: '#369' } })
    .png()
    .toBuffer()
})
afterAll(() => classifier.close())

/** The most images that sharp was given at any time while `work` was under way. */
async function mostAtOnce(work: Promise<unknown>): Promise<number> {
  let most = 0
  let done = false
  const ended = work.finally(() => {
    done = true
  })
  while (!done) {
    const { queue, process } = sharp.counters()
    most = Math.max(most, queue + process)
    await new Promise(resolve => setImmediate(resolve))
  }
  await ended
  return most
}

it('decodes at most as many images at a time per process as there are threads', async () => {
  const many = <T>(count: number, ask: () => Promise<T>) => Promise.all(Array.from({ length: count }, ask))
  const calls = many(20, () => classifier.classify([image, image, image, image], { batch: 4 }))
  const single = many(40, () => classifier.prepare(image))
  const most = await mostAtOnce(Promise.all([calls, single]))
  expect(most).toBeLessThanOrEqual(2 * decodersAtOnce) // one that begins while the counters are read is counted twice
  expect(most).toBeGreaterThan(1)
})

it('holds a slot until an image has the size of the network, and frees it whatever happens', async () => {
  let running = 0
  let most = 0
  const tasks = Array.from({ length: 30 }, (_, i) =>
    decoding(async () => {
      most = Math.max(most, ++running)
      await new Promise(resolve => setImmediate(resolve))
      running--
      if (i % 3 === 0) throw new Error('damaged')
      return i
    }),
  )
  const settled = await Promise.allSettled(tasks)
  expect(settled.filter(({ status }) => status === 'rejected')).toHaveLength(10)
  expect([most, running]).toEqual([decodersAtOnce, 0])
})

it('lets waiting callers leave', async () => {
  const gone = new Error('no longer wanted')
  let release = () => {}
  const wait = new Promise<void>(resolve => {
    release = resolve
  })
  const holding = Array.from({ length: decodersAtOnce }, () => decoding(() => wait))
  const stop = new AbortController()
  const waiting = classifier.prepare(image, { signal: stop.signal })
  const listed = classifier.classify([image], { signal: stop.signal })
  stop.abort(gone)
  await expect(waiting).rejects.toBe(gone)
  await expect(listed).rejects.toBe(gone)
  release()
  await Promise.all(holding)
  expect((await classifier.prepare(image)).pixels).toHaveLength(64 * 64 * 3)
})
