// HTTP requests for files: https, the environment's proxies, redirects followed by hand.
import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { packageVersion } from '../base/package-version.ts'
import { ResidualError } from '../errors.ts'
import { hubEndpoint } from './source.ts'

/** A failure that may go away by itself: what asked should ask again. */
export class TransientFailure extends Error {
  override readonly name = 'TransientFailure'

  constructor(
    message: string,
    /** How long the server wants to be left alone. */
    readonly retryAfterMs = 0,
    options?: { cause?: unknown },
  ) {
    super(message, options)
  }
}

/** What the hub says of a file that it keeps elsewhere (https://huggingface.co/docs/hub/storage-backends). */
export interface Stated {
  readonly sha256?: string
  readonly bytes?: number
}

export interface Answer {
  readonly status: number
  readonly headers: { readonly [name: string]: string | undefined }
  readonly stated: Stated
  readonly body: Readable
}

export interface Transport {
  /** @throws ResidualError DOWNLOAD_FAILED for redirects that are not followed; what the network throws */
  get(url: string, headers: { [name: string]: string }, signal: AbortSignal): Promise<Answer>
  close(): Promise<void>
}

const maxRedirects = 8
const redirects = [301, 302, 303, 307, 308]

export async function openTransport(): Promise<Transport> {
  const { Agent, ProxyAgent, request } = await import('undici')
  const { getProxyForUrl } = await import('proxy-from-env')
  const agents = new Map<string, Dispatcher>()
  /** The way to a server: straight, or through a tunnel of its proxy. */
  const dispatcherFor = (url: URL): Dispatcher => {
    const proxy = getProxyForUrl(url.href)
    const agent = agents.get(proxy) ?? (proxy === '' ? new Agent() : new ProxyAgent(proxy))
    agents.set(proxy, agent)
    return agent
  }

  return {
    async get(url, headers, signal) {
      const start = parse(url)
      if (!start) throw new ResidualError('DOWNLOAD_FAILED', `${url} is no address. Look at HF_ENDPOINT.`)
      let current = start
      let stated: Stated = {}
      for (let hops = 0; hops <= maxRedirects; hops++) {
        checkAllowed(current, start)
        const response = await request(current, {
          dispatcher: dispatcherFor(current),
          headers: { 'user-agent': `residual/${packageVersion()}`, ...headers, ...authorization(current) },
          signal,
          headersTimeout: 0, // the caller has a clock of its own
          bodyTimeout: 0,
        })
        const { statusCode: status, body } = response
        const received = Object.fromEntries(
          Object.entries(response.headers).map(([name, value]) => [name, String(value)]),
        )
        stated = { ...stated, ...statedBy(current, received) }
        if (!redirects.includes(status)) return { status, headers: received, stated, body }
        await body.dump({ limit: 65536 })
        if (received.location === undefined) throw failed(start, 'redirects to nowhere')
        const next = parse(received.location, current)
        if (!next) throw failed(start, `redirects to '${received.location}', which is no address`)
        current = next
      }
      throw failed(start, `redirects more than ${maxRedirects} times`)
    },
    async close() {
      await Promise.all([...agents.values()].map(agent => agent.destroy()))
    },
  }
}

/** `HF_TOKEN`, for nobody but the server it is meant for. */
function authorization(url: URL): { authorization?: string } {
  const { HF_TOKEN } = process.env
  return HF_TOKEN && url.origin === parse(hubEndpoint())?.origin
    ? { authorization: `Bearer ${HF_TOKEN}` }
    : {}
}

/** Only the hub itself is asked which bytes it means, not where it sends us. */
function statedBy(url: URL, headers: { readonly [name: string]: string }): Stated {
  if (url.origin !== parse(hubEndpoint())?.origin) return {}
  const [, sha256] = /^(?:W\/)?"?([0-9a-f]{64})"?$/.exec(headers['x-linked-etag'] ?? headers.etag ?? '') ?? []
  const bytes = /^\d{1,15}$/.test(headers['x-linked-size'] ?? '')
    ? Number(headers['x-linked-size'])
    : undefined
  return { ...(sha256 === undefined ? {} : { sha256 }), ...(bytes === undefined ? {} : { bytes }) }
}

/** https; http only where the user asked for it: as `HF_ENDPOINT`, or on this machine all the way. */
function checkAllowed(url: URL, start: URL): void {
  if (url.protocol === 'https:') return
  const asked = url.origin === parse(hubEndpoint())?.origin || (isLoopback(url) && isLoopback(start))
  if (url.protocol === 'http:' && start.protocol === 'http:' && asked) return
  throw failed(start, `leads to ${url.protocol}//${url.host}, which is not https`)
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname)
}

function parse(text: string, base?: URL): URL | null {
  return URL.canParse(text, base?.href) ? new URL(text, base) : null
}

function failed(url: URL, what: string): ResidualError {
  return new ResidualError('DOWNLOAD_FAILED', `${url.origin}${url.pathname} ${what}.`)
}
