import { describe, expect, it } from 'vitest'
import { Batcher, type BatchRunner } from '../../lib/index.ts'
import { reducedPlan } from '../../lib/model/reduce.ts'
import { imageBytes, takesBytes } from '../../lib/runtime/batching/image-bytes.ts'
import { quantizationOf } from '../support/quantizations.ts'
import { tinyPlan } from '../support/tiny.ts'

const plan = reducedPlan(tinyPlan, { precision: 'int8', quantization: quantizationOf(tinyPlan), bf16: false })
const { mean, std } = plan.ops[0] as { mean: number[]; std: number[] } & (typeof plan.ops)[0]
const normalised = (bytes: ArrayLike<number>) =>
  Float32Array.from(bytes, (byte, i) => (byte / 255 - mean[i % 3]!) / std[i % 3]!)
const all = Uint8Array.from({ length: 3 * 256 }, (_, i) => i / 3)

describe('the bytes of an image', () => {
  it('are taken by plans in int8 alone', () => {
    expect([takesBytes(plan), takesBytes(tinyPlan)]).toEqual([true, false])
    expect(takesBytes(reducedPlan(tinyPlan, { precision: 'bf16' }))).toBe(false)
  })

  it('are found again from normalised floats, every one of them', async () => {
    expect(await imageBytes(plan, normalised(all))).toEqual(all)
    const near = normalised(Array.from(all, byte => byte + (byte % 2 ? 0.45 : -0.45)))
    expect(await imageBytes(plan, near)).toEqual(all)
  })

  it.each([-0.6, 255.6, 300, -1e30, Number.NaN, Number.POSITIVE_INFINITY])(
    'are not found for %d',
    async byte => {
      const floats = normalised([1, 2, 3, 4, byte, 6])
      await expect(imageBytes(plan, floats)).rejects.toMatchObject({
        code: 'INPUT_OUT_OF_RANGE',
        message: expect.stringMatching(/^Element 4 of the input is .* pass bytes, or floats/),
      })
    },
  )

  it('let other work happen where there are many', async () => {
    let turns = 0
    const count = setInterval(() => turns++, 0)
    await imageBytes(plan, new Float32Array(3 * 2 ** 21))
    clearInterval(count)
    expect(turns).toBeGreaterThan(0)
  })
})

describe('a batcher of a network in int8', () => {
  const runner = () => {
    const batches: (Uint8Array | Float32Array)[] = []
    const run = async (pixels: Uint8Array | Float32Array) => {
      batches.push(pixels)
      return { logits: new Float32Array((4 * pixels.length) / 192) }
    }
    return { batches, runner: { plan, concurrency: 1, run } as unknown as BatchRunner }
  }
  const image = (byte: number) => normalised(new Array(192).fill(byte))

  it('joins floats and bytes to one batch, of bytes', async () => {
    const { batches, runner: only } = runner()
    const batcher = new Batcher([only], { maxBatch: 2, maxWaitMs: 1000 })
    const outputs = ['logits'] as const
    await Promise.all([
      batcher.run(image(7), { outputs }),
      batcher.run(new Uint8Array(192).fill(9), { outputs }),
    ])
    expect(batches.length).toBe(1)
    expect([...batches[0]!].sort()).toEqual([...Array(192).fill(7), ...Array(192).fill(9)])
    await batcher.close()
  })

  it('refuses floats that are not of bytes, and nothing else', async () => {
    const { batches, runner: only } = runner()
    const batcher = new Batcher([only], { maxBatch: 2, maxWaitMs: 0 })
    const outputs = ['logits'] as const
    const [bad, good] = await Promise.allSettled([
      batcher.run(image(1000), { outputs }),
      batcher.run(image(10), { outputs }),
    ])
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'INPUT_OUT_OF_RANGE' } })
    expect(good.status).toBe('fulfilled')
    expect(batches.map(batch => batch[0])).toEqual([10])
    await batcher.close()
  })

  it('refuses floats that it cannot take any more once they are bytes', async () => {
    const batcher = new Batcher([runner().runner])
    const outputs = ['logits'] as const
    const stop = new AbortController()
    const [late, stopped] = [
      batcher.run(image(1), { outputs }),
      batcher.run(image(1), { outputs, signal: stop.signal }),
    ]
    const all = Promise.allSettled([late, stopped])
    stop.abort(new Error('stopped'))
    await batcher.close()
    expect(await all).toMatchObject([
      { status: 'rejected', reason: { code: 'QUEUE_CLOSED' } },
      { status: 'rejected', reason: { message: 'stopped' } },
    ])
  })
})
