// Talks to a server: in this process or as a command, over loopback.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { packageRoot } from '../../lib/base/package-root.ts'
import { type RunningServer, type ServeOptions, serve } from '../../lib/server/index.ts'

export const modelName = 'resnet50-cifar10'
export const imageShape = [64, 64, 3] as const
export const imageBytes = 64 * 64 * 3

/** A server of the bundled model, on any free port, which stops soon. */
export const startServer = (options: Partial<ServeOptions> = {}): Promise<RunningServer> =>
  serve({ models: [modelName], device: 'cpu', port: 0, logLevel: 'silent', graceMs: 100, ...options })

export const sampleImage = (name: string): Buffer => readFileSync(join(packageRoot, 'samples', `${name}.jpg`))

export interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is what it says
  readonly json: any
}

/** Any request, whose answer is JSON. */
export async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init)
  const body = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    json: body.startsWith('{') || body.startsWith('[') ? JSON.parse(body) : body,
  }
}

export const post = (
  url: string,
  body: string | Uint8Array | FormData,
  headers: Record<string, string> = {},
): Promise<Answer> => ask(url, { method: 'POST', body, headers })

/** The value of the first line of `/metrics` that begins like this; NaN where there is none. */
export async function metric(server: RunningServer, line: string): Promise<number> {
  const text = (await ask(`${server.url}/metrics`)).json as string
  const found = text.split('\n').find(each => each.startsWith(line))
  return Number(found?.split(' ').at(-1) ?? Number.NaN)
}

export const inferUrl = (server: RunningServer, model = modelName): string =>
  `${server.url}/v2/models/${model}/infer`

/** A request with tensors in JSON. */
export const inferJson = (server: RunningServer, request: object): Promise<Answer> =>
  post(inferUrl(server), JSON.stringify(request), { 'Content-Type': 'application/json' })

export interface InferBody {
  readonly inputs: readonly object[]
  readonly [member: string]: unknown
}

/** The body of a request whose first input's data follow in binary, and the header that says so. */
export function binaryRequest(request: InferBody, ...tensors: Uint8Array[]) {
  const inputs = request.inputs.map((input, i) => ({
    ...input,
    parameters: { binary_data_size: tensors[i]?.length },
  }))
  const json = Buffer.from(JSON.stringify({ ...request, inputs }))
  return {
    body: Buffer.concat([json, ...tensors]),
    headers: {
      'Content-Type': 'application/octet-stream',
      'Inference-Header-Content-Length': String(json.length),
    },
  }
}

/** As {@link binaryRequest}, sent; the outputs by name, those in binary as bytes. */
export async function inferBinary(server: RunningServer, request: InferBody, ...tensors: Uint8Array[]) {
  const { body, headers } = binaryRequest(request, ...tensors)
  const response = await fetch(inferUrl(server), { method: 'POST', body, headers })
  const bytes = Buffer.from(await response.arrayBuffer())
  const length = Number(response.headers.get('Inference-Header-Content-Length') ?? bytes.length)
  const json = JSON.parse(bytes.toString('utf8', 0, length))
  const outputs = new Map<string, { datatype: string; shape: number[]; bytes: Buffer }>()
  let at = length
  for (const { name, datatype, shape, parameters } of json.outputs ?? []) {
    const size = parameters?.binary_data_size ?? 0
    outputs.set(name, { datatype, shape, bytes: bytes.subarray(at, at + size) })
    at += size
  }
  return { status: response.status, json, outputs, rest: bytes.length - at }
}

/** Elements of a BYTES tensor as they travel in binary. */
export function bytesTensor(...elements: Uint8Array[]): Buffer {
  return Buffer.concat(
    elements.flatMap(element => {
      const length = Buffer.alloc(4)
      length.writeUInt32LE(element.length)
      return [length, element]
    }),
  )
}

/** `[N,H,W,3]` to `[N,3,H,W]`. */
export function channelsFirst(pixels: ArrayLike<number>, count: number): Float32Array {
  const plane = pixels.length / count / 3
  return Float32Array.from({ length: pixels.length }, (_, i) => {
    const [n, c, pixel] = [Math.floor(i / plane / 3), Math.floor(i / plane) % 3, i % plane]
    return pixels[(n * plane + pixel) * 3 + c]!
  })
}

/** Writes `data` to a new connection and resolves to all that comes back until it is closed. */
export async function exchange(server: RunningServer, data: string | Uint8Array): Promise<string> {
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  socket.write(data)
  return text(socket)
}

export interface ServerProcess {
  readonly url: string
  readonly lines: readonly { readonly [key: string]: unknown }[]
  kill(signal: NodeJS.Signals): void
  /** Resolves to the exit code, or the signal that ended it. */
  readonly exit: Promise<number | string>
}

/** `residual serve` of the package in `root`, as a user would start it; resolves once its log says `until`, by default that it listens. */
export async function spawnServer(
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  root = packageRoot,
  until = 'listening on',
): Promise<ServerProcess> {
  const command = [join(root, 'bin', 'residual.js'), 'serve', '--device', 'cpu', '--port', '0', ...args]
  const child = spawn(process.execPath, command, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: { [key: string]: unknown }[] = []
  let rest = ''
  let url = ''
  const exit = new Promise<number | string>(resolve =>
    child.on('exit', (code, signal) => resolve(code ?? signal!)),
  )
  await new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n')
      rest = parts.pop()!
      for (const part of parts) {
        const line = JSON.parse(part)
        lines.push(line)
        url ||= /^(?:loading models for|listening on) (.*)$/.exec(line.msg)?.[1] ?? ''
        if (line.msg.startsWith(until)) resolve()
      }
    })
    void exit.then(code => reject(new Error(`residual serve ended with ${code}`)))
  })
  return { url, lines, exit, kill: signal => child.kill(signal) }
}
