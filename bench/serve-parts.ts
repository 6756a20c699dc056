// The loads of bench/serve.ts: what each one did to the server, and whether its figures can be trusted.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { promisify } from 'node:util'
import { median, quartiles } from '../lib/base/statistics.ts'
import { noiseOf, type Peak } from '../lib/benchmark/noise.ts'
import {
  ask,
  binaryRequest,
  imageBytes,
  imageShape,
  modelName,
  type ServerProcess,
} from '../test/support/server.ts'

/** `session.run` alone. */
export interface Direct {
  readonly rate: number
  readonly cpuMs: number
}

/** What a load did to the server. CPU time per image is the cost of serving even if others use the machine. */
export interface Served {
  readonly requestsPerSecond: number
  readonly imagesPerSecond: number
  /** Of the server's process, per image. */
  readonly cpuMs: number
  /** Of the load's process, per image: it runs on the same cores. */
  readonly loadCpuMs: number
  /** The p99 delay of the server's event loop. */
  readonly eventLoopMs: number
  readonly longestTurnMs: number
  /** The same of this process, which is idle: the delay the machine itself causes. */
  readonly idleLoopMs: number
  /** Of each request; empty if they were sent as fast as possible. */
  readonly latencies: readonly number[]
  /** The longest time between a request's due time and its start. */
  readonly worstLateMs: number
}

export interface Pair {
  readonly direct: Direct
  readonly served: Served
}

/** What a load's process prints. */
interface Load {
  readonly answered: number
  readonly failed: number
  readonly seconds: number
  readonly cpuSeconds: number
  readonly latencies?: readonly number[]
  readonly worstLateMs?: number
}

/**
 * perf_hooks.monitorEventLoopDelay records the time from one firing of a timer to the next, so also where nothing is late the
 * 10 ms of that timer, which prom-client does not take off. A turn that is held up for long is one value, not many
 * (https://github.com/nodejs/node/issues/34661): the longest is told besides.
 */
const monitorMs = 10

const mostConnections = 512 // of a load at a constant rate

export class LoadGenerator {
  readonly #server: ServerProcess
  readonly #folder: string

  private constructor(server: ServerProcess, folder: string) {
    this.#server = server
    this.#folder = folder
  }

  static async open(server: ServerProcess): Promise<LoadGenerator> {
    return new LoadGenerator(server, await mkdtemp(join(tmpdir(), 'residual-bench-')))
  }

  /** Sends requests of `images` images each, as binary pixels, over this many connections as fast as possible. */
  saturate(images: number, connections: number, seconds: number): Promise<Served> {
    return this.#run('serve-load.mjs', images, { connections, seconds })
  }

  /** The same, `rate` per second. */
  pace(images: number, rate: number, seconds: number): Promise<Served> {
    return this.#run('serve-rate.mjs', images, { rate, connections: mostConnections, seconds })
  }

  close(): Promise<void> {
    return rm(this.#folder, { recursive: true })
  }

  async #run(script: string, images: number, how: object): Promise<Served> {
    const input = { name: 'pixels', datatype: 'UINT8', shape: [images, ...imageShape] }
    const output = { name: 'logits', parameters: { binary_data: true } }
    const pixels = Uint8Array.from({ length: images * imageBytes }, (_, i) => (i * 37) % 251)
    const { body, headers } = binaryRequest({ inputs: [input], outputs: [output] }, pixels)
    const file = join(this.#folder, `body-${images}`)
    await writeFile(file, body)
    const url = `${this.#server.url}/v2/models/${modelName}/infer`
    const child = new URL(script, import.meta.url).pathname
    const before = await watch(this.#server)
    const idle = monitorEventLoopDelay({ resolution: monitorMs })
    idle.enable()
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [child, JSON.stringify({ url, headers, body: file, ...how })],
      { maxBuffer: 2 ** 28 },
    )
    idle.disable()
    const after = await watch(this.#server)
    const load: Load = JSON.parse(stdout)
    if (load.failed > 0) throw new Error(`${load.failed} requests failed`)
    const served = after.images - before.images // also what autocannon did not wait for
    return {
      requestsPerSecond: load.answered / load.seconds,
      imagesPerSecond: (load.answered * images) / load.seconds,
      cpuMs: (1000 * (after.cpuSeconds - before.cpuSeconds)) / served,
      loadCpuMs: (1000 * load.cpuSeconds) / served,
      eventLoopMs: after.eventLoopMs,
      longestTurnMs: after.longestTurnMs,
      idleLoopMs: Math.max(0, idle.percentile(99) / 1e6 - monitorMs),
      latencies: load.latencies ?? [],
      worstLateMs: load.worstLateMs ?? 0,
    }
  }
}

/** The server's own metrics; those of its event loop cover the time since the last call. */
async function watch(server: ServerProcess) {
  const text = (await ask(`${server.url}/metrics`)).json as string
  const metric = (name: string) =>
    Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? 0)
  const late = (name: string) =>
    Math.max(0, metric(`nodejs_eventloop_lag_${name}_seconds`) * 1000 - monitorMs)
  return {
    eventLoopMs: late('p99'),
    longestTurnMs: late('max'),
    cpuSeconds: metric('process_cpu_seconds_total'),
    images: metric('residual_pictures_total'),
  }
}

const mostLateMs = 10
const mostIdleMs = 5

/** Why the figures cannot be trusted, one sentence each; empty if they can. */
export function serveNoise(
  peak: Peak,
  cases: readonly { readonly name: string; readonly pairs: readonly Pair[] }[],
  relaxed: readonly Served[],
): string[] {
  const ratios = cases.map(({ name, pairs }) => ({
    engine: `session.run of ${name}`,
    ratio: quartiles(pairs.map(({ direct, served }) => served.imagesPerSecond / direct.rate)),
  }))
  const late = Math.max(...relaxed.map(({ worstLateMs }) => worstLateMs))
  const idle = median(
    [...cases.flatMap(({ pairs }) => pairs.map(({ served }) => served)), ...relaxed].map(
      ({ idleLoopMs }) => idleLoopMs,
    ),
  )
  return [
    ...noiseOf(peak, ratios),
    ...(idle > mostIdleMs
      ? [
          `the event loop of an idle process was ${idle.toFixed(0)} ms late at p99 ` +
            `(more than ${mostIdleMs} ms)`,
        ]
      : []),
    ...(late > mostLateMs
      ? [`requests started up to ${late.toFixed(0)} ms late (more than ${mostLateMs} ms)`]
      : []),
  ]
}
