// `residual serve`: serve models over HTTP and gRPC until stopped.
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import type { RunningServer, ServeOptions } from '../../server/index.ts'
import { defaultDrainMs } from '../../server/options.ts'
import { type ModelArguments, modelOptionsOf } from '../options/model-options.ts'
import { sayAll } from '../terminal/print.ts'
import { serveBanner } from './banner.ts'

/** What the command line says; see `main.ts`. */
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
  const { serve } = await import('../../server/index.ts') // what only a server needs is not loaded for other commands
  const stopSignal = nextSignal()
  let reloadWanted = false
  let onReload = () => {
    reloadWanted = true // the models that are being loaded may have been read before they changed
  }
  process.on('SIGHUP', () => onReload())
  const started = serve(toOptions(args))
  const server = await Promise.race([started, stopSignal])
  if (typeof server === 'string') return stopStarting(started, args.drainMs)
  if (process.stdout.isTTY) {
    await nextTurn() // the log writes what it has once a turn
    sayAll(serveBanner(server))
  }
  onReload = () => void server.reload().catch(() => {}) // the log says what is wrong
  if (reloadWanted) onReload()
  const signal = await stopSignal
  server.log.info({ signal }, 'stopping')
  return endWith((await server.stop()) ? 0 : 1)
}

/**
 * Bodies lie outside of V8's heap but count towards the limit at which it marks all of that. The limit is set by what is alive,
 * which is little: three times a second the event loop was held up for 10 to 20 ms. Now it is at five times what is alive, some 50 MB higher.
 */
function collectSeldom(): void {
  setFlagsFromString('--heap-growing-percent=400') // read whenever the limit is set anew; at most `--max-old-space-size` as ever
}

/** Told to stop while loading: nothing was ready, so nothing was promised. */
async function stopStarting(started: Promise<RunningServer>, drainMs = defaultDrainMs): Promise<number> {
  const stopped = started.then(server => server.stop()).catch(() => {})
  await Promise.race([stopped, delay(drainMs, undefined, { ref: false })])
  return endWith(0)
}

const exitMs = 250

/** Has the process end with `code`, whatever it still waits for: a loading that nobody needs, a collector of spans. */
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

/** Resolves to the name of the first signal to stop; the second one ends the process. */
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
