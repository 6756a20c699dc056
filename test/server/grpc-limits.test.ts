import { once } from 'node:events'
import { type ClientHttp2Stream, connect as connectHttp2, constants } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { deflateSync, gzipSync } from 'node:zlib'
import { status } from '@grpc/grpc-js'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { RunningServer, ServeOptions } from '../../lib/server/index.ts'
import { ask, metric, startServer } from '../support/server.ts'

async function start(options: Partial<ServeOptions>): Promise<RunningServer> {
  const server = await startServer({ threads: 1, grpcPort: 0, ...options })
  onTestFinished(async () => {
    await server.stop()
  })
  return server
}

/** A connection on which calls are written byte by byte. */
function open(server: RunningServer) {
  const session = connectHttp2(`http://127.0.0.1:${server.grpcPort}`)
  session.on('error', () => {})
  onTestFinished(() => session.destroy())
  const call = (method = 'ModelInfer', headers = {}): ClientHttp2Stream => {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/inference.GRPCInferenceService/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    })
    stream.on('error', () => {}).resume()
    return stream
  }
  return { session, call }
}

/** A message as it goes over the wire, of so many bytes, which hold nothing that the service knows. */
function framed(length: number, pack = (bytes: Buffer) => bytes): Buffer {
  const field = Buffer.from([0xfa, 0x7f]) // field 2047, of bytes
  const size = Buffer.from([
    (length & 127) | 128,
    ((length >> 7) & 127) | 128,
    ((length >> 14) & 127) | 128,
    length >> 21,
  ])
  const message = pack(Buffer.concat([field, size, Buffer.alloc(length)]))
  const head = Buffer.alloc(5)
  head.writeUInt8(Number(message.length < length))
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

/** The status of a call and its code. */
async function answerTo(stream: ClientHttp2Stream) {
  const told: { [name: string]: unknown } = {}
  stream.on('response', headers => Object.assign(told, headers))
  stream.on('trailers', headers => Object.assign(told, headers))
  if (!stream.closed) await once(stream, 'close')
  return [Number(told['grpc-status']), told['residual-error']]
}

const counted = async (server: RunningServer, code: string) => {
  const text = (await ask(`${server.url}/metrics`)).json as string
  return Number(
    new RegExp(`^residual_requests_total\\{protocol="grpc",.*code="${code}"\\} (\\d+)$`, 'm').exec(text)?.[1],
  )
}

describe('gRPC', () => {
  it('limits connections, and cuts silent ones', async () => {
    const server = await start({ limits: { connections: 3, headersTimeoutMs: 300 } })
    const sockets = Array.from({ length: 5 }, () => connect(server.grpcPort!, '127.0.0.1'))
    for (const socket of sockets) socket.on('error', () => {}).resume()
    await Promise.all(sockets.map((socket: Socket) => once(socket, 'close'))) // two at once, three for their silence
    const { call } = open(server)
    expect(await answerTo(call('ServerLive').end(framed(0)))).toEqual([status.OK, undefined])
    await delay(400) // it has spoken: it stays
    expect(await answerTo(call('ServerLive').end(framed(0)))).toEqual([status.OK, undefined])
  })

  it('refuses a message that takes too long to arrive, and reads no more of it', async () => {
    const server = await start({ limits: { requestTimeoutMs: 300 } })
    const { call } = open(server)
    const half = call()
    half.write(framed(1000).subarray(0, 500))
    const silent = call()
    for (const answer of await Promise.all([half, silent].map(answerTo)))
      expect(answer).toEqual([status.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED'])
    await expect.poll(() => counted(server, 'DEADLINE_EXCEEDED')).toBe(2)
  })

  it('counts arriving messages towards the limit of all requests, and holds nothing of those that have ended', async () => {
    const server = await start({ limits: { heldBytes: 300_000, bodyBytes: 210_000 } })
    const { call } = open(server)
    const first = call()
    first.write(framed(200_000).subarray(0, 190_000)) // held, though nobody has all of it
    await delay(100)
    const second = call()
    second.write(framed(150_000).subarray(0, 140_000))
    expect(await answerTo(second)).toEqual([status.UNAVAILABLE, 'SERVER_BUSY'])
    const classified = await ask(`${server.url}/classify`, { method: 'POST', body: new Uint8Array(150_000) })
    expect([classified.status, classified.headers.get('Residual-Error')]).toEqual([503, 'SERVER_BUSY'])
    first.close(constants.NGHTTP2_CANCEL)
    await expect.poll(() => counted(server, 'REQUEST_ABORTED')).toBe(1)
    expect(await answerTo(call().end(framed(150_000)))).toEqual([status.NOT_FOUND, 'MODEL_NOT_SERVED'])
    expect(await answerTo(call().end(framed(150_000)))).toEqual([status.NOT_FOUND, 'MODEL_NOT_SERVED'])
    await expect.poll(() => counted(server, 'SERVER_BUSY')).toBe(1)
  })

  it('counts a packed message by its unpacked size', async () => {
    const server = await start({ limits: { heldBytes: 2_000_000, bodyBytes: 1_500_000 } })
    const { call } = open(server)
    const packed = () => call('ModelInfer', { 'grpc-encoding': 'gzip' }).end(framed(1_400_000, gzipSync))
    expect(await answerTo(packed())).toEqual([status.NOT_FOUND, 'MODEL_NOT_SERVED'])
    const waiting = call()
    waiting.write(framed(1_000_000).subarray(0, 900_000))
    await delay(100)
    expect(await answerTo(packed())).toEqual([status.UNAVAILABLE, 'SERVER_BUSY'])
  })

  it('unpacks messages in turn, so that many small ones cannot become much at a time', async () => {
    const server = await start({
      limits: { heldBytes: 6_000_000, bodyBytes: 4_100_000, requestTimeoutMs: 300_000 }, // however busy the machine is
      decoders: 1,
    })
    const bomb = framed(4_000_000, gzipSync)
    expect(bomb.length).toBeLessThan(10_000)
    let most = 0
    const before = process.memoryUsage().arrayBuffers
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before)
    }, 1)
    const { call } = open(server)
    const calls = Array.from({ length: 100 }, () => call('ModelInfer', { 'grpc-encoding': 'gzip' }).end(bomb))
    const answers = await Promise.all(calls.map(answerTo))
    clearInterval(watch)
    for (const [code] of answers) expect([status.NOT_FOUND, status.UNAVAILABLE]).toContain(code)
    expect(answers.filter(([code]) => code === status.NOT_FOUND).length).toBeGreaterThan(0)
    expect(most).toBeLessThan(200_000_000) // all together would be 400 MB
  })

  it('accepts packed messages in any pieces, and names an encoding it does not know', async () => {
    const server = await start({})
    const { call } = open(server)
    const slow = call('ModelInfer', { 'grpc-encoding': 'deflate' })
    for (const byte of framed(2_000, deflateSync)) {
      slow.write(Buffer.from([byte]))
      await new Promise(setImmediate)
    }
    expect(await answerTo(slow.end())).toEqual([status.NOT_FOUND, 'MODEL_NOT_SERVED'])
    const strange = call('ModelInfer', { 'grpc-encoding': 'snappy' }).end(framed(2_000, gzipSync))
    expect(await answerTo(strange)).toEqual([status.UNIMPLEMENTED, 'ENCODING_UNSUPPORTED'])
    const broken = call('ModelInfer', { 'grpc-encoding': 'gzip' }).end(framed(2_000, deflateSync))
    expect(await answerTo(broken)).toEqual([status.INVALID_ARGUMENT, 'REQUEST_INVALID'])
  })

  it('ends a stream whose next message stops arriving, even after one was answered', async () => {
    const server = await start({ limits: { requestTimeoutMs: 400 } })
    const { call } = open(server)
    const stream = call('ModelStreamInfer')
    stream.write(Buffer.concat([framed(10), framed(1000).subarray(0, 500)]))
    await once(stream, 'data') // an answer: there is no such model
    expect(await answerTo(stream)).toEqual([status.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED'])
    const pieces = call('ModelStreamInfer')
    const data: Buffer[] = []
    pieces.on('data', (chunk: Buffer) => data.push(chunk))
    for (const byte of Buffer.concat([framed(3), framed(200), framed(0)])) {
      pieces.write(Buffer.from([byte]))
      await new Promise(setImmediate)
    }
    expect(await answerTo(pieces.end())).toEqual([status.OK, undefined])
    expect(
      Buffer.concat(data)
        .toString()
        .match(/Unknown model ''/g),
    ).toHaveLength(3)
  })

  it('counts requests that grpc-js refuses', async () => {
    const server = await start({ limits: { bodyBytes: 100_000 } })
    const { call } = open(server)
    expect(await answerTo(call().end(framed(200_000)))).toEqual([status.RESOURCE_EXHAUSTED, undefined])
    await expect.poll(() => metric(server, 'residual_errors_total{code="REQUEST_TOO_LARGE"}')).toBe(1)
    const broken = Buffer.from([0, 0, 0, 0, 2, 0xff, 0xff])
    expect(await answerTo(call().end(broken))).toEqual([status.INTERNAL, undefined])
    await expect.poll(() => counted(server, 'REQUEST_TOO_LARGE')).toBe(1)
    await expect.poll(() => counted(server, 'REQUEST_INVALID')).toBe(1)
  })
})
