// HTTP requests for files: https, the environment's proxies, redirects followed by hand.
import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { packageVersion } from '../base/package-version.ts'
import { ResidualError } from '../errors.ts'
import { hubEndpoint } from './source.ts'

/** A failure that may be temporary: the caller should try again. */
export class TransientFailure extends Error {
  override readonly name = 'TransientFailure'

  constructor(
    message: string,
    /** How long the server asks to wait. */
    readonly retryAfterMs = 0,
    options?: { cause?: unknown },
  ) {
    super(message, options)
  }
}

/** What the hub states about a file that it stores elsewhere (https://huggingface.co/docs/hub/storage-backends). */
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
  /** @throws ResidualError DOWNLOAD_FAILED for redirects that are not followed; whatever the network throws */
  get(url: string, headers: { [name: string]: string }, signal: AbortSignal): Promise<Answer>
  close(): Promise<void>
}

const maxRedirects = 8
const redirects = [301, 302, 303, 307, 308]

export async function openTransport(): Promise<Transport> {
  const { Agent, ProxyAgent, request } = await import('undici')
  const { getProxyForUrl } = await import('proxy-from-env')
  const agents = new Map<string, Dispatcher>()
  /** The dispatcher for a server: direct, or a tunnel through its proxy. */
  const dispatcherFor = (url: URL): Dispatcher => {
    const proxy = getProxyForUrl(url.href)
    const agent = agents.get(proxy) ?? (proxy === '' ? new Agent() : new ProxyAgent(proxy))
    agents.set(proxy, agent)
    return agent
  }

  return {
    async get(url, headers, signal) {
      const start = parse(url)
      if (!start) throw new ResidualError('DOWNLOAD_FAILED', `${url} is not a valid URL. Check HF_ENDPOINT.`)
      let current = start
      let stated: Stated = {}
      for (let hops = 0; hops <= maxRedirects; hops++) {
        checkAllowed(current, start)
        const response = await request(current, {
          dispatcher: dispatcherFor(current),
          headers: { 'user-agent': `residual/${packageVersion()}`, ...headers, ...authorization(current) },
          signal,
          headersTimeout: 0, // the caller has its own timer
          bodyTimeout: 0,
        })
        const { statusCode: status, body } = response
        const received = Object.fromEntries(
          Object.entries(response.headers).map(([name, value]) => [name, String(value)]),
        )
        stated = { ...stated, ...statedBy(current, received) }
        if (!redirects.includes(status)) return { status, headers: received, stated, body }
        await body.dump({ limit: 65536 })
        if (received.location === undefined) throw failed(start, 'redirects without a location')
        const next = parse(received.location, current)
        if (!next) throw failed(start, `redirects to '${received.location}', which is not a valid URL`)
        current = next
      }
      throw failed(start, `redirects more than ${maxRedirects} times`)
    },
    async close() {
      await Promise.all([...agents.values()].map(agent => agent.destroy()))
    },
  }
}

/** `HF_TOKEN`, sent only to the server it is meant for. */
function authorization(url: URL): { authorization?: string } {
  const { HF_TOKEN } = process.env
  return HF_TOKEN && url.origin === parse(hubEndpoint())?.origin
    ? { authorization: `Bearer ${HF_TOKEN}` }
    : {}
}

/** Only the hub itself is trusted to state the checksum, not the server it redirects to. */
function statedBy(url: URL, headers: { readonly [name: string]: string }): Stated {
  if (url.origin !== parse(hubEndpoint())?.origin) return {}
  const [, sha256] = /^(?:W\/)?"?([0-9a-f]{64})"?$/.exec(headers['x-linked-etag'] ?? headers.etag ?? '') ?? []
  const bytes = /^\d{1,15}$/.test(headers['x-linked-size'] ?? '')
    ? Number(headers['x-linked-size'])
    : undefined
  return { ...(sha256 === undefined ? {} : { sha256 }), ...(bytes === undefined ? {} : { bytes }) }
}

/** https is required; http only if the user asked for it with `HF_ENDPOINT`, or if every hop is on this machine. */
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
