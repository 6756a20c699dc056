// A server for one file, like the Hugging Face hub, that tests can make misbehave.
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** The same bytes for the same seed. */
export function someBytes(length: number, seed = 1): Buffer {
  let state = seed
  return Buffer.from(
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state >>> 24
    }),
  )
}

export interface FileServer {
  readonly url: string
  readonly requests: IncomingMessage[]
  /** The handlers of the next requests, in turn; when there are none left `serve(bytes)` answers. */
  readonly next: Handler[]
  /** Further files by name, such as `config.json`. Requests for missing ones get a 404, and none of them is counted. */
  readonly beside: Map<string, string>
  close(): Promise<void>
}

export async function fileServer(bytes: () => Uint8Array): Promise<FileServer> {
  const requests: IncomingMessage[] = []
  const next: Handler[] = []
  const beside = new Map<string, string>()
  const server = createServer((request, response) => {
    const config = /[^/]*config\.json$/.exec(request.url ?? '')?.[0]
    if (config !== undefined) {
      const text = beside.get(config)
      response.writeHead(text === undefined ? 404 : 200).end(text ?? 'Entry not found')
      return
    }
    requests.push(request)
    response.on('error', () => {}) // clients go away here on purpose
    const handler = next.shift() ?? serve(bytes())
    handler(request, response)
  })
  return { url: await listen(server), requests, next, beside, close: () => close(server) }
}

export async function listen(server: Server): Promise<string> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export function close(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise(resolve => server.close(() => resolve()))
}

/** The headers of the hub; `headers` may change or, by undefined, remove them. */
export function hubHeaders(bytes: Uint8Array, headers: { [name: string]: string | undefined } = {}) {
  const all = { etag: `"${sha256(bytes)}"`, 'x-linked-etag': `"${sha256(bytes)}"`, ...headers }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as {
    [name: string]: string
  }
}

/** What a good server answers, ranges and their conditions included. */
export function serve(bytes: Uint8Array, headers?: { [name: string]: string | undefined }): Handler {
  return (request, response) => {
    const common = hubHeaders(bytes, headers)
    const first = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    const condition = request.headers['if-range']
    if (first === 0 || (condition !== undefined && condition !== common.etag)) {
      response.writeHead(200, { ...common, 'content-length': bytes.length }).end(bytes)
    } else if (first >= bytes.length) {
      response.writeHead(416, { ...common, 'content-range': `bytes */${bytes.length}` }).end()
    } else {
      const range = `bytes ${first}-${bytes.length - 1}/${bytes.length}`
      const rest = bytes.subarray(first)
      response.writeHead(206, { ...common, 'content-range': range, 'content-length': rest.length }).end(rest)
    }
  }
}

/** Sends so many bytes of a whole answer; then breaks the connection, or is silent for ever. */
export function breakAfter(bytes: Uint8Array, count: number, how: 'break' | 'stall'): Handler {
  return (_, response) => {
    response.writeHead(200, { ...hubHeaders(bytes), 'content-length': bytes.length })
    response.write(bytes.subarray(0, count), () => {
      if (how === 'break') setTimeout(() => response.destroy(), 20) // after the bytes have left
    })
  }
}
