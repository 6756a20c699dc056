import { setTimeout as delay } from 'node:timers/promises'
import { type ServiceError, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type Classifier, load } from '../../lib/index.ts'
import type { RunningServer, ServeOptions } from '../../lib/server/index.ts'
import { type GrpcClient, grpcClient } from '../support/grpc.ts'
import { imageBytes, imageShape, metric, modelName, startServer } from '../support/server.ts'

let classifier: Classifier
beforeAll(async () => {
  classifier = await load(modelName, { device: 'cpu', threads: 1 })
})
afterAll(() => classifier.close())

async function start(
  options: Partial<ServeOptions> = {},
): Promise<{ server: RunningServer; client: GrpcClient }> {
  const server = await startServer({ threads: 1, grpcPort: 0, ...options })
  const client = grpcClient(server, 'open-inference.proto', 'inference.GRPCInferenceService')
  onTestFinished(async () => {
    client.close()
    await server.stop()
  })
  return { server, client }
}

/** A stream, what came of it, and how it ended. */
function open(client: GrpcClient) {
  const stream = client.stream('ModelStreamInfer')
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is what it says
  const answers: any[] = []
  const ended = new Promise<ServiceError | undefined>(resolve => {
    stream.on('data', (answer: object) => answers.push(answer))
    stream.on('error', resolve).on('end', () => resolve(undefined))
  })
  return { stream, answers, ended }
}

const request = (id: number, images = 1) => ({
  model_name: modelName,
  id: String(id),
  inputs: [{ name: 'pixels', datatype: 'UINT8', shape: [images, ...imageShape] }],
  outputs: [{ name: 'logits' }],
  raw_input_contents: [new Uint8Array(images * imageBytes).fill(id)],
})

describe('a stream of requests', () => {
  it('is answered in order, each to the bit, and continues after a refused request', async () => {
    const { client, server } = await start({ maxBatch: 8 })
    const { stream, answers, ended } = open(client)
    const count = 60
    for (let i = 0; i < count; i++)
      stream.write(i === 20 ? { ...request(i), inputs: [] } : request(i, 1 + (i % 3)))
    stream.end()
    expect(await ended).toBe(undefined)
    expect(answers.map(({ infer_response }) => infer_response.id)).toEqual(
      Array.from({ length: count }, (_, i) => String(i)),
    )
    for (const [i, { error_message, infer_response }] of answers.entries()) {
      if (i === 20) {
        expect(error_message).toMatch(/0 inputs.*\[REQUEST_INVALID\]$/)
        expect(infer_response).toMatchObject({ model_name: modelName, outputs: [] })
        continue
      }
      const { logits } = await classifier.run(request(i, 1 + (i % 3)).raw_input_contents[0]!)
      expect(error_message).toBe('')
      expect(infer_response.raw_output_contents[0]).toEqual(
        Buffer.from(logits.buffer, logits.byteOffset, logits.byteLength),
      )
    }
    expect(await metric(server, 'residual_requests_total{protocol="grpc"')).toBe(count - 1)
    expect(await metric(server, 'residual_errors_total{code="REQUEST_INVALID"}')).toBe(1)
  })

  it('holds only what has not been answered', async () => {
    const { client } = await start({ limits: { bodyBytes: 200_000, heldBytes: 200_000 } })
    const { stream, answers, ended } = open(client)
    for (let i = 0; i < 30; i++) {
      stream.write(request(i, 8)) // 98,304 bytes: 30 of them are 15 times what may be held
      await expect.poll(() => answers.length, { interval: 2, timeout: 20_000 }).toBe(i + 1)
    }
    stream.end()
    expect(await ended).toBe(undefined)
    expect(answers.map(({ error_message }) => error_message).join('')).toBe('')
  })

  it('ends with an error when too much comes at once, or a message is too large', async () => {
    const { client } = await start({ limits: { bodyBytes: 200_000, heldBytes: 200_000 } })
    const many = open(client)
    for (let i = 0; i < 30; i++) many.stream.write(request(i, 8))
    expect(await many.ended).toMatchObject({
      code: status.UNAVAILABLE,
      details: expect.stringMatching(/SERVER_BUSY/),
    })
    const large = open(client)
    large.stream.write(request(1, 20))
    expect(await large.ended).toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    const after = open(client)
    after.stream.write(request(3))
    after.stream.end()
    expect(await after.ended).toBe(undefined) // what the others held has been given back
    expect(after.answers[0].error_message).toBe('')
  })

  it("frees its requests' slots when its client goes away", async () => {
    const { client, server } = await start({ maxBatch: 1 })
    const { stream, ended } = open(client)
    for (let i = 0; i < 12; i++) stream.write(request(i, 64))
    const waiting = () => metric(server, 'residual_queue_pictures{')
    await expect.poll(waiting, { interval: 5, timeout: 20_000 }).toBeGreaterThan(100)
    stream.cancel()
    expect(await ended).toMatchObject({ code: status.CANCELLED })
    await expect.poll(waiting, { interval: 5, timeout: 20_000 }).toBe(0)
    expect(await metric(server, 'residual_requests_total{protocol="grpc"')).toBeGreaterThan(0)
  })

  it('is answered as far as it has come and ends when the server stops, even if idle', async () => {
    const { client, server } = await start({ maxBatch: 4, graceMs: 200 })
    const [busy, quiet] = [open(client), open(client)]
    quiet.stream.write(request(1))
    await expect.poll(() => quiet.answers.length, { timeout: 20_000 }).toBe(1)
    for (let i = 0; i < 10; i++) busy.stream.write(request(i, 16))
    await expect.poll(() => busy.answers.length, { interval: 2, timeout: 20_000 }).toBeGreaterThan(0)
    const stopped = server.stop()
    await delay(20)
    busy.stream.write(request(10))
    expect(await Promise.all([stopped, busy.ended, quiet.ended])).toEqual([true, undefined, undefined])
    expect(busy.answers.map(({ error_message }) => error_message)).toEqual(Array(11).fill(''))
  })
})
