// `residual serve`: serve models over HTTP and gRPC until stopped.
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import type { RunningServer, ServeOptions } from '../../server/index.ts'
import { defaultDrainMs } from '../../server/options.ts'
import { type ModelArguments, modelOptionsOf } from '../options/model-options.ts'
import { sayAll } from '../terminal/print.ts'
import { serveBanner } from './banner.ts'

/** The arguments of the command; see `main.ts`. */
export interface ServeArguments
  extends Omit<ServeOptions, 'models' | 'maxQueue' | 'limits' | keyof ModelArguments>,
    ModelArguments {
  readonly model: readonly string[]
  readonly queue: number
  readonly maxBodyMib: number
  readonly maxMegapixels: number
  readonly maxPictures: number
  readonly maxConnections: number
  readonly deadlineMs: number
}

/** Serves until SIGTERM or SIGINT. Resolves to 0 if everything accepted was answered, else 1. A second signal exits at once. */
export async function serveUntilStopped(args: ServeArguments): Promise<number> {
  collectSeldom()
  const { serve } = await import('../../server/index.ts') // other commands do not load what only a server needs
  const stopSignal = nextSignal()
  let reloadWanted = false
  let onReload = () => {
    reloadWanted = true // the models being loaded may have been read before they changed
  }
  process.on('SIGHUP', () => onReload())
  const started = serve(toOptions(args))
  const server = await Promise.race([started, stopSignal])
  if (typeof server === 'string') return stopStarting(started, args.drainMs)
  if (process.stdout.isTTY) {
    await nextTurn() // the log writes once per turn
    sayAll(serveBanner(server))
  }
  onReload = () => void server.reload().catch(() => {}) // errors are logged
  if (reloadWanted) onReload()
  const signal = await stopSignal
  server.log.info({ signal }, 'stopping')
  return endWith((await server.stop()) ? 0 : 1)
}

/**
 * Request bodies lie outside V8's heap but count towards the limit at which it runs a full marking. That limit is a multiple of
 * the live heap, which is small, so marking stopped the event loop for 10 to 20 ms three times a second. This raises it to five
 * times the live heap, about 50 MB more.
 */
function collectSeldom(): void {
  setFlagsFromString('--heap-growing-percent=400') // read whenever the limit is recomputed; `--max-old-space-size` still applies
}

/** Stops a server that is still loading: nothing was ready, so no request was accepted. */
async function stopStarting(started: Promise<RunningServer>, drainMs = defaultDrainMs): Promise<number> {
  const stopped = started.then(server => server.stop()).catch(() => {})
  await Promise.race([stopped, delay(drainMs, undefined, { ref: false })])
  return endWith(0)
}

const exitMs = 250

/** Ends the process with `code` even if something is pending, such as a load that nobody needs or a span collector. */
function endWith(code: number): number {
  setTimeout(() => process.exit(code), exitMs).unref()
  return code
}

function toOptions(args: ServeArguments): ServeOptions {
  const { model, queue, maxBodyMib, maxMegapixels, maxPictures, maxConnections, deadlineMs, ...options } =
    args
  const limits = {
    bodyBytes: maxBodyMib * 2 ** 20,
    pixelsPerPicture: maxMegapixels * 1e6,
    picturesPerRequest: maxPictures,
    connections: maxConnections,
    deadlineMs,
  }
  return { ...options, ...modelOptionsOf(args), models: model, maxQueue: queue, limits }
}

/** Resolves to the name of the first stop signal; a second one ends the process. */
function nextSignal(): Promise<string> {
  return new Promise(resolve => {
    let first = true
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.on(signal, () => {
        if (!first) process.exit(1)
        first = false
        resolve(signal)
      })
  })
}
