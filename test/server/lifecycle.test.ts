import { once } from 'node:events'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { findModel } from '../../lib/model-record.ts'
import { serve } from '../../lib/server/index.ts'
import { temporaryFolder } from '../support/files.ts'
import {
  type Answer,
  ask,
  binaryRequest,
  imageBytes,
  imageShape,
  inferUrl,
  modelName,
  post,
  sampleImage,
  spawnServer,
  startServer,
} from '../support/server.ts'

const folder = temporaryFolder()
const source = findModel(modelName).path

/** A copy of the bundled model whose labels begin with `prefix`. */
async function copyModel(name: string, prefix: string): Promise<string> {
  const path = join(folder, `${name}.safetensors`)
  await copyFile(source, path)
  await relabel(path, prefix)
  return path
}

async function relabel(path: string, prefix: string): Promise<void> {
  const record = JSON.parse(await readFile(source.replace('.safetensors', '.json'), 'utf8'))
  const labels = record.labels.map((label: string) => prefix + label)
  await writeFile(path.replace('.safetensors', '.json'), JSON.stringify({ ...record, labels }))
}

const sixteen = binaryRequest(
  { inputs: [{ name: 'pixels', datatype: 'UINT8', shape: [16, ...imageShape] }] },
  new Uint8Array(16 * imageBytes),
)

/** How a connection ends on which nothing was answered any more: refused, or closed while the request was on its way. */
const notAccepted = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']

/** Sends requests from `clients` at once until each finds the server gone; the answers. */
async function load(url: string, clients: number): Promise<Answer[]> {
  const answers: Answer[] = []
  const client = async () => {
    for (;;) {
      try {
        answers.push(await post(`${url}/v2/models/${modelName}/infer`, sixteen.body, sixteen.headers))
      } catch (error) {
        const { code = '' } = ((error as Error).cause ?? {}) as { code?: string }
        if (notAccepted.includes(code)) return
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: clients }, client))
  return answers
}

describe('residual serve', () => {
  it('is ready once it says so, stops under load without losing a request, and exits with 0', async () => {
    const server = await spawnServer(['--threads', '1', '--max-batch', '8'])
    expect((await ask(`${server.url}/v2/health/ready`)).status).toBe(200)
    const answers = load(server.url, 16)
    await delay(700)
    server.kill('SIGTERM')
    expect(await server.exit).toBe(0)
    const statuses = (await answers).map(({ status }) => status)
    expect(statuses.length).toBeGreaterThan(16)
    expect(new Set(statuses)).toEqual(new Set([200]))
    // Whatever the server says it has answered has come to its client: what it begun with was accepted.
    const begun = server.lines.filter(({ msg, method }) => msg === 'request' && method === 'POST')
    expect(begun.length).toBe(statuses.length)
  })

  it('exits at once on a second signal, and with 1 when it cannot finish in time', async () => {
    const [twice, slow] = await Promise.all([
      spawnServer(['--threads', '1', '--drain-ms', '600000']), // longer than this test may take
      spawnServer(['--threads', '1', '--drain-ms', '300']),
    ])
    // Half a request keeps both of them waiting.
    for (const { url } of [twice, slow]) {
      const { hostname, port } = new URL(url)
      const socket = connect(Number(port), hostname)
      socket.on('error', () => {})
      socket.write('POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf')
    }
    await delay(100)
    for (const server of [twice, slow]) server.kill('SIGTERM')
    twice.kill('SIGINT') // two of the same kind may arrive as one
    expect(await twice.exit).toBe(1)
    expect(await slow.exit).toBe(1)
  })

  it('answers a half-sent request in time and exits with 0', async () => {
    const server = await spawnServer(['--threads', '1', '--drain-ms', '5000'])
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    socket.write('POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf')
    await delay(100)
    server.kill('SIGTERM')
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 408 .*\r\n(.+\r\n)*Residual-Error: REQUEST_INVALID\r\n/)
    expect(await server.exit).toBe(0)
  })

  it('reloads its models on SIGHUP', async () => {
    const path = await copyModel('hup', 'old ')
    const server = await spawnServer(['--threads', '1', '--model', path])
    const label = async () =>
      (await post(`${server.url}/classify`, sampleImage('ship'))).json.results[0].predictions[0].label
    expect(await label()).toBe('old ship')
    await copyModel('hup', 'new ')
    server.kill('SIGHUP')
    for (let i = 0; i < 100 && (await label()) !== 'new ship'; i++) await delay(50)
    expect(await label()).toBe('new ship')
    server.kill('SIGTERM')
    expect(await server.exit).toBe(0)
  })

  it('stops within its time limit, or at once on a second signal, while its models load', async () => {
    const args = ['--threads', '1', '--instances', '60', '--drain-ms', '200'] // seconds to load
    const start = () => spawnServer(args, {}, packageRoot, 'loading models')
    const [once, twice] = await Promise.all([start(), start()])
    for (const server of [once, twice]) server.kill('SIGTERM')
    twice.kill('SIGINT') // two of the same kind may arrive as one
    expect([await once.exit, await twice.exit]).toEqual([0, 1])
    for (const { lines } of [once, twice]) expect(lines.map(({ msg }) => msg)).not.toContain('ready')
  })

  it('reports what is wrong with its models and options, and exits with 1', async () => {
    await expect(spawnServer(['--model', 'resnet99', '--log-level', 'silent'])).rejects.toThrow(
      'ended with 1',
    )
    await expect(spawnServer(['--log-level', 'loud'])).rejects.toThrow('ended with 1')
  })

  it('logs a line per request, and sends spans to OTEL_EXPORTER_OTLP_ENDPOINT as children of the caller’s', async () => {
    const { spans, endpoint, close } = await collectSpans()
    const server = await spawnServer(['--threads', '1'], { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint })
    const traceId = '0af7651916cd43dd8448eb211c80319c'
    const traceparent = `00-${traceId}-b7ad6b7169203331-01`
    await post(`${server.url}/classify`, sampleImage('ship'), { traceparent })
    await post(`${server.url}/classify?topK=none`, 'x')
    server.kill('SIGTERM')
    expect(await server.exit).toBe(0)
    close()

    expect(spans.map(({ name }) => name).sort()).toEqual(['compute', 'decode', 'infer', 'queue'])
    const root = spans.find(({ name }) => name === 'infer')!
    expect(root.parentSpanId).toBe('b7ad6b7169203331')
    for (const span of spans) expect(span.traceId).toBe(traceId)
    for (const span of spans) if (span !== root) expect(span.parentSpanId).toBe(root.spanId)

    const [first, second] = server.lines.filter(({ msg }) => msg === 'request')
    expect(first).toMatchObject({
      method: 'POST',
      path: '/classify',
      status: 200,
      images: 1,
    })
    expect(first).toHaveProperty('computeMs', expect.any(Number))
    expect(second).toMatchObject({ path: '/classify', status: 400, code: 'REQUEST_INVALID' })
    expect(server.lines.map(({ msg }) => msg)).toContain('stopping')
  })
})

describe('residual serve without a working collector', () => {
  it.each<[string, (socket: Socket) => void]>([
    ['refuses them', socket => socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')],
    ['never answers', () => {}],
  ])('still exits with 0 when the collector %s', async (_, answer) => {
    const sockets: Socket[] = []
    const collector = createTcpServer(socket => {
      sockets.push(socket)
      socket.on('error', () => {}).once('data', () => answer(socket))
    })
    await new Promise<void>(resolve => collector.listen(0, '127.0.0.1', resolve))
    const { port } = collector.address() as AddressInfo
    const server = await spawnServer(['--threads', '1'], {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_TIMEOUT: '600000', // longer than this test may take
    })
    await post(`${server.url}/classify`, sampleImage('ship'))
    server.kill('SIGTERM')
    expect(await server.exit).toBe(0)
    expect(server.lines.map(({ msg }) => msg)).toContainEqual(
      expect.stringMatching(/^The last spans could not/),
    )
    for (const socket of sockets) socket.destroy()
    collector.close()
  })
})

interface SentSpan {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
}

/** What an OpenTelemetry collector would be sent. */
async function collectSpans() {
  const spans: SentSpan[] = []
  const collector = createServer(async (request, response) => {
    // biome-ignore lint/suspicious/noExplicitAny: OTLP's JSON, of which this reads a few members
    const { resourceSpans } = JSON.parse((await buffer(request)).toString()) as any
    for (const { scopeSpans } of resourceSpans) for (const scope of scopeSpans) spans.push(...scope.spans)
    response.end('{}')
  })
  await new Promise<void>(resolve => collector.listen(0, '127.0.0.1', resolve))
  const { port } = collector.address() as AddressInfo
  return { spans, endpoint: `http://127.0.0.1:${port}`, close: () => collector.close() }
}

async function freePort(): Promise<number> {
  const server = createTcpServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

describe('a server', () => {
  it('is live but not ready while its models load, and no longer ready while it stops', async () => {
    const port = await freePort()
    const starting = serve({
      models: [modelName],
      device: 'cpu',
      threads: 1,
      port,
      logLevel: 'silent',
    })
    const url = `http://127.0.0.1:${port}`
    const states: string[] = []
    for (let i = 0; i < 500 && !states.includes('200 200'); i++) {
      const get = (path: string) =>
        ask(url + path).then(
          ({ status }) => status,
          () => 0,
        )
      states.push(`${await get('/v2/health/live')} ${await get('/v2/health/ready')}`)
    }
    expect([...new Set(states)].filter(state => !state.startsWith('0'))).toEqual(['200 503', '200 200'])
    const server = await starting
    const request = post(inferUrl(server), sixteen.body, sixteen.headers)
    await delay(5)
    const stopped = server.stop()
    expect((await request).headers.get('Connection')).toBe('close')
    expect(await stopped).toBe(true)
    await expect(ask(`${url}/v2`)).rejects.toThrow()
  })

  it('reloads a model under load without losing a request; a model that cannot be reloaded stays as it was', async () => {
    const path = await copyModel('again', 'old ')
    const server = await startServer({ models: [path, modelName], threads: 1, repository: true })
    let busy = true
    const labels: string[] = []
    const client = async () => {
      while (busy) {
        const { status, json } = await post(`${server.url}/classify?topK=1`, sampleImage('truck'))
        expect(status).toBe(200)
        labels.push(json.results[0].predictions[0].label)
      }
    }
    const clients = Promise.all(Array.from({ length: 3 }, client))
    const loadUrl = `${server.url}/v2/repository/models/again/load`
    for (const prefix of ['new ', 'newer ']) {
      await copyModel('again', prefix)
      const [one, two] = await Promise.all([post(loadUrl, ''), post(loadUrl, '{}')])
      expect([one.status, two.status, one.json]).toEqual([200, 200, {}])
      await delay(50)
    }
    await writeFile(path, 'broken')
    expect(await post(loadUrl, '')).toMatchObject({
      status: 500,
      json: {
        error: expect.stringMatching(
          /could not be reloaded and stays as it was: .*again.*MODEL_LOAD_FAILED/s,
        ),
      },
    })
    await delay(50)
    busy = false
    await clients
    expect([...new Set(labels)]).toEqual(['old truck', 'new truck', 'newer truck'])
    expect(labels.at(-1)).toBe('newer truck')
    expect((await post(`${server.url}/v2/repository/index`, '')).json).toEqual([
      { name: 'again', version: '1', state: 'READY', reason: '' },
      { name: modelName, version: '1', state: 'READY', reason: '' },
    ])
    expect((await post(`${server.url}/v2/repository/models/other/load`, '')).status).toBe(404)
    await server.stop()
  })

  it('reloads every model it can, reports those it cannot, and tries again if asked in the meantime', async () => {
    const [first, second] = [await copyModel('first', 'old '), await copyModel('second', 'old ')]
    const server = await startServer({ models: [first, second], threads: 1 })
    const label = async (model: string) => {
      const { json } = await post(`${server.url}/classify?topK=1&model=${model}`, sampleImage('truck'))
      return json.results[0].predictions[0].label
    }
    const weights = await readFile(first)
    await writeFile(first, 'broken')
    await copyModel('second', 'new ')
    await expect(server.reload()).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    expect([await label('first'), await label('second')]).toEqual(['old truck', 'new truck'])
    await writeFile(first, weights)
    await copyModel('first', 'new ')
    const underWay = server.reload()
    while ((await label('first')) === 'old truck') await delay(1) // the second is being loaded
    await Promise.all([relabel(first, 'newest '), relabel(second, 'newest ')])
    await Promise.all([underWay, server.reload()])
    expect([await label('first'), await label('second')]).toEqual(['newest truck', 'newest truck'])
    await server.stop()
  })

  it('waits no longer for a loading model than for requests, and frees it afterwards', async () => {
    const server = await startServer({ instances: 16, threads: 1, maxBatch: 1, drainMs: 300 })
    let reloaded = false
    const reloading = server.reload().then(() => {
      reloaded = true
    })
    expect(await server.stop()).toBe(true)
    expect(reloaded).toBe(false)
    await reloading
  })

  it('answers requests on open connections after it was told to stop, and closes idle ones', async () => {
    const server = await startServer({ threads: 1, graceMs: 1000 })
    const { hostname, port } = new URL(server.url)
    const open = async (first: string) => {
      const socket = connect(Number(port), hostname)
      let received = ''
      socket.setEncoding('utf8').on('data', part => {
        received += part
      })
      socket.write(first)
      const ended = once(socket, 'end')
      return { socket, ended, received: () => received }
    }
    const live = 'GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n'
    const [again, half, silent] = await Promise.all([open(live), open(live.slice(0, 30)), open('')])
    while (!again.received().includes('true')) await delay(5)
    const begin = performance.now()
    const stopped = server.stop()
    await delay(100)
    again.socket.write(live)
    await again.ended
    expect(again.received()).toMatch(/keep-alive.*Connection: close.*true/is)
    await silent.ended // only now is it quiet for long enough
    expect(performance.now() - begin).toBeGreaterThan(990)
    expect(half.received()).toBe('')
    half.socket.write(live.slice(30))
    await half.ended
    expect(half.received()).toMatch(/ 200 OK.*Connection: close.*true/is)
    expect(await stopped).toBe(true)
  })

  it('stops without waiting for connections that have sent nothing', async () => {
    const server = await startServer({ threads: 1, drainMs: 3000 })
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    await delay(50)
    expect(await server.stop()).toBe(true)
  })

  it('runs as many sessions per model as configured', async () => {
    const server = await startServer({ instances: 3, maxBatch: 4, threads: 1 })
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => post(inferUrl(server), sixteen.body, sixteen.headers)),
    )
    for (const { status, json } of answers) expect([status, json]).toEqual([200, answers[0]!.json])
    await server.stop()
  })

  it('exits with the reason when a model cannot be loaded or the port is taken', async () => {
    const broken = join(folder, 'broken.safetensors')
    await writeFile(broken, 'broken')
    await expect(startServer({ models: [broken] })).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    const server = await startServer({ threads: 1 })
    const port = Number(new URL(server.url).port)
    await expect(startServer({ port })).rejects.toMatchObject({ code: 'LISTEN_FAILED' })
    await server.stop()
  })
})
