// `residual serve`: answer for models over HTTP and gRPC until told to stop.
import type { RunningServer, ServeOptions } from '../server/index.ts'

/** What the command line says; see `main.ts`. */
export interface ServeArguments extends Omit<ServeOptions, 'models' | 'maxQueue' | 'limits'> {
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
  const { serve } = await import('../server/index.ts') // what only a server needs is not loaded for other commands
  const stopSignal = nextSignal()
  let running: RunningServer | undefined
  process.on('SIGHUP', () => running && reload(running)) // what is still being loaded is new anyway
  const started = serve(toOptions(args))
  const server = await Promise.race([started, stopSignal])
  if (typeof server === 'string') {
    // Told to stop while loading: nothing was ready, so nothing was promised.
    await started.then(server => server.stop()).catch(() => {})
    return 0
  }
  running = server
  const signal = await stopSignal
  server.log.info({ signal }, 'stopping')
  const answered = await server.stop()
  return answered ? 0 : 1
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
  return { ...options, models: model, maxQueue: queue, limits }
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

function reload(server: RunningServer): void {
  server.reload().catch((error: unknown) => server.log.error(error, 'the models stay as they were'))
}
