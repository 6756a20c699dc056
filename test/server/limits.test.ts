import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { RunningServer, ServeOptions } from '../../lib/server/index.ts'
import { BodyBudget } from '../../lib/server/limits/body.ts'
import {
  ask,
  binaryRequest,
  exchange,
  imageBytes,
  imageShape,
  inferBinary,
  inferJson,
  inferUrl,
  metric,
  modelName,
  post,
  sampleImage,
  startServer,
} from '../support/server.ts'

async function start(options: Partial<ServeOptions> = {}): Promise<RunningServer> {
  const server = await startServer({ threads: 1, ...options })
  onTestFinished(async () => {
    await server.stop()
  })
  return server
}

const input = (count: number) => ({ name: 'pixels', datatype: 'UINT8', shape: [count, ...imageShape] })
const pixels = (count: number) => new Uint8Array(count * imageBytes)
const infer = (server: RunningServer, count: number, parameters = {}) =>
  inferBinary(server, { inputs: [input(count)], ...{ parameters } }, pixels(count))

function open(server: RunningServer, data = ''): Socket {
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {}) // the server may cut it
  socket.resume()
  socket.write(data)
  onTestFinished(() => {
    socket.destroy()
  })
  return socket
}

const closed = (socket: Socket) => new Promise<void>(resolve => socket.once('close', () => resolve()))

describe('a full server', () => {
  it('answers 503 with Retry-After, and answers again once there is room', async () => {
    const server = await start({ maxQueue: 40, maxBatch: 4, maxWaitMs: 0 })
    const answers = await Promise.all(Array.from({ length: 30 }, () => post(inferUrl(server), ...sent(8))))
    const refused = answers.filter(({ status }) => status === 503)
    expect(refused.length).toBeGreaterThan(0)
    expect(answers.filter(({ status }) => status === 200).length).toBe(30 - refused.length)
    for (const { headers, json } of refused) {
      expect(headers.get('Retry-After')).toBe('1')
      expect(json.error).toMatch(/\[QUEUE_FULL\]$/)
    }
    expect((await infer(server, 8)).status).toBe(200)
    expect(await metric(server, 'residual_errors_total{code="QUEUE_FULL"}')).toBe(refused.length)
    expect(await metric(server, 'residual_queue_pictures{')).toBe(0)
  })

  it('answers a form with 503 as a whole, rather than for some of its images', async () => {
    const server = await start({ maxQueue: 4, decoders: 1 })
    const files = Array.from({ length: 4 }, () => new Blob([sampleImage('ship')]))
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => {
        const form = new FormData()
        for (const file of files) form.append('image', file, 'ship.jpg')
        return post(`${server.url}/classify`, form)
      }),
    )
    const refused = answers.filter(({ status }) => status === 503)
    expect(refused.length).toBeGreaterThan(0)
    for (const { headers, json } of refused)
      expect([headers.get('Retry-After'), json.error]).toEqual(['1', expect.stringMatching(/QUEUE_FULL/)])
    for (const { json } of answers.filter(answer => !refused.includes(answer)))
      for (const result of json.results) expect(result).toHaveProperty('predictions')
    expect(await metric(server, 'residual_errors_total{code="QUEUE_FULL"}')).toBe(refused.length)
    expect(await metric(server, 'residual_decode_queue_pictures ')).toBe(0)
  })

  it('refuses to hold more bytes than its limit, and holds none once they are answered', async () => {
    const server = await start({ limits: { heldBytes: 350_000, bodyBytes: 300_000 } })
    const slow = open(server)
    slow.write(rawInfer(16).subarray(0, -1)) // all but the last byte: it is held
    await delay(100)
    const { status, json } = await infer(server, 16)
    expect([status, json.error]).toEqual([503, expect.stringMatching(/\[SERVER_BUSY\]$/)])
    expect((await infer(server, 8)).status).toBe(200)
    slow.destroy()
    await delay(100)
    expect((await infer(server, 16)).status).toBe(200)
  })

  it('holds nothing of pipelined requests on a connection that ended', async () => {
    const server = await start({ maxBatch: 2, limits: { heldBytes: 3_300_000, bodyBytes: 3_200_000 } })
    const socket = open(server)
    for (const count of [200, 64]) socket.write(rawInfer(count)) // the second waits for the first
    await delay(100)
    socket.destroy()
    await delay(100)
    expect((await infer(server, 256)).status).toBe(200) // only fits if nothing else is held
  })
})

/** A request as it goes over the wire. */
function rawRequest(body: Buffer, headers: object): Buffer {
  const lines = Object.entries({ Host: 'x', ...headers, 'Content-Length': body.length }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  const head = `POST /v2/models/${modelName}/infer HTTP/1.1\r\n${lines.join('')}\r\n`
  return Buffer.concat([Buffer.from(head), body])
}

const rawInfer = (count: number) => rawRequest(...sent(count))

const sent = (count: number) => {
  const { body, headers } = binaryRequest({ inputs: [input(count)] }, pixels(count))
  return [body, headers] as const
}

describe('limits', () => {
  it('are named to clients that exceed them', async () => {
    const server = await start({ maxQueue: 6, limits: { bodyBytes: 100_000, jsonBytes: 1000 } })
    const many = await infer(server, 7) // no more than can wait, whatever else is allowed
    expect([many.status, many.json.error]).toEqual([
      413,
      expect.stringMatching(/7 images, more than the limit of 6/),
    ])
    const long = await inferJson(server, { inputs: [{ ...input(1), data: [...pixels(1)] }] })
    expect([long.status, long.json.error]).toEqual([413, expect.stringMatching(/exceeds the limit of 1000/)])
    const large = await infer(server, 9)
    expect([large.status, large.json.error]).toEqual([
      413,
      expect.stringMatching(/exceeds the limit of 100000 bytes/),
    ])
  })

  it('hold for bodies without a stated length, and for the contents of packed bodies', async () => {
    const server = await start({ limits: { bodyBytes: 100_000 } })
    const chunk = `${(60_000).toString(16)}\r\n${'x'.repeat(60_000)}\r\n`
    const text = await exchange(
      server,
      `POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}`,
    )
    expect(text).toMatch(/^HTTP\/1\.1 413 .*Connection: close.*REQUEST_TOO_LARGE/is)
    const bomb = await post(`${server.url}/classify`, gzipSync(Buffer.alloc(50_000_000)), {
      'Content-Encoding': 'gzip',
    })
    expect([bomb.status, bomb.json.error]).toEqual([413, expect.stringMatching(/REQUEST_TOO_LARGE/)])
  })

  it('hold for packed bodies while they are unpacked, not only afterwards', async () => {
    const budget = new BodyBudget(10_000_000, 10_000_000)
    budget.open().take(9_000_000)
    const bomb = gzipSync(Buffer.alloc(5_000_000))
    const brokenAtItsEnd = bomb.fill(0, bomb.length - 8) // which must not be reached
    await expect(budget.open().inflate(brokenAtItsEnd, 'gzip')).rejects.toMatchObject({ code: 'SERVER_BUSY' })
  })

  it('end requests at their deadline: the server’s or their own', async () => {
    const server = await start({ maxBatch: 2, maxWaitMs: 0, limits: { deadlineMs: 150 } })
    const [whole, brief] = await Promise.all([infer(server, 256), infer(server, 100, { timeout: 20_000 })])
    for (const { status, json } of [whole, brief])
      expect([status, json.error]).toEqual([
        504,
        expect.stringMatching(/within (150|20) ms.*\[DEADLINE_EXCEEDED\]$/),
      ])
    const image = await post(`${server.url}/classify?timeoutMs=1`, sampleImage('ship'))
    expect(image.json.error).toMatch(/within 1 ms/)
    await delay(100)
    expect(await metric(server, 'residual_queue_pictures{')).toBe(0)
  })

  it.each([
    [{ models: [] }, TypeError],
    [{ instances: 0 }, RangeError],
    [{ port: 65_536 }, RangeError],
    [{ logLevel: 'loud' }, RangeError],
    [{ maxWaitMs: -1 }, RangeError],
    [{ limits: { bodyBytes: 0 } }, RangeError],
    [{ limits: { bodyByts: 1 } }, RangeError],
    [{ limits: { bodyBytes: 2, heldBytes: 1 } }, RangeError],
    [{ models: ['resnet50-cifar10', 'resnet50-cifar10'] }, RangeError],
    [{ decoders: 1.5 }, RangeError],
    [{ host: 7 }, TypeError],
    [{ repository: 1 }, TypeError],
  ])('refuse %j', async (options, type) => {
    await expect(startServer(options as Partial<ServeOptions>)).rejects.toThrow(type)
  })
})

describe('clients that misbehave', () => {
  it('are cut off when their headers or their body take too long', async () => {
    const server = await start({ limits: { headersTimeoutMs: 300, requestTimeoutMs: 600 } })
    const silent = closed(open(server))
    const headers = exchange(server, 'GET /v2 HTTP/1.1\r\nHost: x\r\nX-Half')
    const body = exchange(server, 'POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf')
    expect(await headers).toMatch(/^HTTP\/1\.1 408 .*\{"error":".*\[REQUEST_INVALID\]"\}$/s)
    expect(await body).toMatch(/^HTTP\/1\.1 408 /)
    await silent
    expect((await infer(server, 1)).status).toBe(200)
  })

  it('are cut off when they do not read their answer', async () => {
    const server = await start({ limits: { requestTimeoutMs: 1000 } })
    // Answers of 2.6 MB each: together more than the system holds for the client.
    const { body, headers } = binaryRequest({ inputs: [input(256)] }, pixels(256))
    const requests = 12
    const socket = open(server)
    let taken = 0
    socket.on('data', data => {
      taken += data.length
    })
    socket.pause()
    for (let i = 0; i < requests; i++) socket.write(rawRequest(body, headers))
    await delay(3000)
    socket.resume()
    await closed(socket)
    expect(taken).toBeLessThan(requests * 2.6e6)
  })

  it('are told so when they send something that is not a request', async () => {
    const server = await start()
    const requests: [string, number][] = [
      ['nonsense\r\n\r\n', 400],
      ['\u0016\u0003\u0001\u0002\u0000\u0001', 400], // TLS
      [`GET /v2 HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`, 431],
      ['POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!', 400],
      [
        'POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        400,
      ],
      ['POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 400],
      ['GET /v2/models/%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
    ]
    for (const [text, status] of requests) {
      const answer = await exchange(server, text)
      expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
      expect(answer).toMatch(/\{"error":"[^"]*\[REQUEST_INVALID\]"\}$/)
      expect(answer).toMatch(/^residual-error: REQUEST_INVALID\r$/im)
    }
    expect(await metric(server, 'residual_errors_total{code="REQUEST_INVALID"}')).toBeGreaterThanOrEqual(
      requests.length,
    )
    expect((await ask(`${server.url}/v2/health/ready`)).status).toBe(200)
  })

  it('get their earlier requests answered first', async () => {
    const server = await start()
    const { body, headers } = binaryRequest({ inputs: [input(32)] }, pixels(32))
    const answers = await exchange(
      server,
      Buffer.concat([rawRequest(body, headers), Buffer.from('BLAH\r\n\r\n')]),
    )
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400'])
  })

  it('free their slots when they vanish, whether before decoding, while waiting or while running', async () => {
    const server = await start({ maxBatch: 4, maxWaitMs: 0 })
    const [body, headers] = sent(64)
    const controllers = Array.from({ length: 12 }, () => new AbortController())
    const vanishing = controllers.map(({ signal }) =>
      fetch(inferUrl(server), { method: 'POST', body, headers, signal }).catch(() => 'gone'),
    )
    const decoding = controllers.map(({ signal }) =>
      fetch(`${server.url}/classify`, { method: 'POST', body: sampleImage('ship'), signal }).catch(
        () => 'gone',
      ),
    )
    const staying = infer(server, 3)
    await delay(60)
    expect(await metric(server, 'residual_queue_pictures{')).toBeGreaterThan(64)
    for (const controller of controllers) controller.abort()
    expect(
      (await Promise.all([...vanishing, ...decoding])).filter(answer => answer === 'gone').length,
    ).toBeGreaterThan(11)
    expect((await staying).status).toBe(200)
    await delay(50)
    expect(await metric(server, 'residual_queue_pictures{')).toBe(0)
    expect(
      await metric(
        server,
        'residual_requests_total{protocol="rest",model="resnet50-cifar10",code="REQUEST_ABORTED"}',
      ),
    ).toBeGreaterThan(9)
  })

  it('cannot hold all connections for long, however many they are', async () => {
    const server = await start({ limits: { connections: 50, headersTimeoutMs: 500 } })
    const sockets = Array.from({ length: 300 }, () => open(server, 'GET /v2 HTTP/1.1\r\nX-Slow: '))
    await Promise.all(sockets.map(closed))
    expect((await infer(server, 1)).status).toBe(200)
  })
})
