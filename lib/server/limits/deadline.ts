// Request deadlines: work ends at the deadline, or when the client disconnects.
import { setMaxListeners } from 'node:events'
import { ResidualError } from '../../errors.ts'

/** What a request is done under. */
export interface Deadline {
  /** Aborted when the time is up, with DEADLINE_EXCEEDED, or when the client has gone. */
  readonly signal: AbortSignal
  /** Has the time be up so many milliseconds from the beginning, if that is sooner. */
  shorten(ms: number): void
}

/** Runs `task`, which has `ms` from now on unless `client` is aborted before. */
export async function within<T>(
  ms: number,
  client: AbortSignal,
  task: (deadline: Deadline) => Promise<T>,
): Promise<T> {
  const begin = performance.now()
  const controller = new AbortController()
  setMaxListeners(0, controller.signal) // one for each image
  const gone = () => controller.abort(client.reason)
  if (client.aborted) gone()
  client.addEventListener('abort', gone, { once: true })
  let allowed = ms
  let lastChance: NodeJS.Immediate | undefined
  const expire = () => {
    const message = `The request was not done within ${allowed} ms. Allow more, or try again later.`
    controller.abort(new ResidualError('DEADLINE_EXCEEDED', message))
  }
  const startTimer = () =>
    setTimeout(
      () => {
        // Timers come first after the process or the machine stood still: what was done meanwhile is taken before.
        lastChance = setImmediate(expire)
      },
      allowed - (performance.now() - begin),
    )
  let timer = startTimer()
  const shorten = (ms: number) => {
    if (ms >= allowed) return
    allowed = ms
    clearTimeout(timer)
    timer = startTimer()
  }
  try {
    return await task({ signal: controller.signal, shorten })
  } finally {
    clearTimeout(timer)
    clearImmediate(lastChance)
    client.removeEventListener('abort', gone)
  }
}
