import { setImmediate as turn } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { TaskLimit } from '../../lib/base/task-limit.ts'
import type { Classifier } from '../../lib/index.ts'
import { createHttp } from '../../lib/server/http/http-server.ts'
import { ImageDecoder } from '../../lib/server/inference/images.ts'
import { checkServeOptions } from '../../lib/server/options.ts'
import { Service } from '../../lib/server/service.ts'
import { modelName, sampleImage } from '../support/server.ts'

/** A task that ends when it is told to. */
function task() {
  let end!: (value: string) => void
  const ended = new Promise<string>(resolve => {
    end = resolve
  })
  const state = { begun: 0, end }
  const run = () => {
    state.begun++
    return ended
  }
  return { state, run }
}

const never = new AbortController().signal

describe('a limit on tasks', () => {
  it("keeps an abandoned task's slot until the task has ended", async () => {
    const gate = new TaskLimit(1, 10)
    const [first, second] = [task(), task()]
    const controller = new AbortController()
    const running = gate.run(first.run, controller.signal)
    const waiting = gate.run(second.run, never)
    controller.abort(new Error('late'))
    await expect(running).rejects.toThrow('late') // though the task has not ended
    await turn()
    expect([second.state.begun, gate.waiting]).toEqual([0, 1])
    first.state.end('')
    await turn()
    expect([second.state.begun, gate.waiting]).toEqual([1, 0])
    second.state.end('done')
    expect(await waiting).toBe('done')
  })

  it('lets requests take turns, however much each has waiting', async () => {
    const gate = new TaskLimit(1, 10)
    const order: string[] = []
    const first = task()
    void gate.run(first.run, never)
    const signals = { a: new AbortController(), b: new AbortController(), c: new AbortController() }
    const send = (name: keyof typeof signals) =>
      gate.run(async () => order.push(name), signals[name].signal).catch(() => {})
    const all = [...'aaaabbca'].map(name => send(name as keyof typeof signals))
    expect(gate.waiting).toBe(8)
    signals.c.abort()
    expect(gate.waiting).toBe(7)
    first.state.end('')
    await Promise.all(all)
    expect([order.join(''), gate.waiting]).toEqual(['ababaaa', 0])
  })

  it('starts nothing that is already late, and passes the slot on', async () => {
    const gate = new TaskLimit(1, 10)
    const [first, late, last] = [task(), task(), task()]
    const controller = new AbortController()
    const running = gate.run(first.run, never)
    const waiting = gate.run(late.run, controller.signal)
    const after = gate.run(last.run, never)
    waiting.catch(() => {})
    controller.abort(new Error('late'))
    await expect(gate.run(late.run, controller.signal)).rejects.toThrow('late')
    first.state.end('first')
    last.state.end('last')
    expect(await Promise.all([running, after])).toEqual(['first', 'last'])
    await expect(waiting).rejects.toThrow('late')
    expect(late.state.begun).toBe(0)
  })
})

describe('the decoder', () => {
  it('answers at the deadline even if an image is still being decoded, without freeing its slot early', async () => {
    const gate = new TaskLimit(1, 10)
    const decoder = new ImageDecoder(gate, 1e6)
    const decoding = task()
    const classifier = { prepare: decoding.run } as unknown as Classifier
    const controller = new AbortController()
    const images = Array.from({ length: 3 }, () => sampleImage('ship'))
    const prepared = decoder.prepare(classifier, images, controller.signal)
    controller.abort(new Error('late'))
    await expect(prepared).rejects.toThrow('late')
    const other = task()
    void gate.run(other.run, never)
    await turn()
    expect([decoding.state.begun, other.state.begun]).toEqual([1, 0])
    decoding.state.end('')
    await turn()
    expect([decoding.state.begun, other.state.begun]).toEqual([1, 1])
  })
})

describe('the server', () => {
  it('shares the threads for unpacking bodies and decoding images, so that one is left for computing', async () => {
    const service = new Service(
      checkServeOptions({ models: [modelName], decoders: 1, device: 'cpu', logLevel: 'silent' }),
    )
    const app = await createHttp(service)
    const decoding = task()
    void service.unpacking.run(decoding.run, never)
    const headers = { 'Content-Encoding': 'gzip' }
    const request = { method: 'POST', url: '/classify', headers, payload: gzipSync('x') } as const
    const answer = app.inject(request)
    const other = app.inject(request)
    await expect.poll(() => service.unpacking.waiting).toBe(2)
    decoding.state.end('')
    for (const { statusCode, body } of await Promise.all([answer, other]))
      expect([statusCode, body]).toEqual([503, expect.stringMatching(/MODEL_NOT_READY/)]) // none was loaded
    await app.close()
  })
})
