// Request deadlines: work ends at the deadline, or when the client disconnects.
import { setMaxListeners } from 'node:events'
import { ResidualError } from '../../errors.ts'

/** The deadline of a request. */
export interface Deadline {
  /** Aborted with DEADLINE_EXCEEDED when the time is up, or when the client disconnects. */
  readonly signal: AbortSignal
  /** Moves the deadline to so many milliseconds from the start, if that is sooner. */
  shorten(ms: number): void
}

/** Runs `task` for at most `ms`, or until `client` is aborted. */
export async function within<T>(
  ms: number,
  client: AbortSignal,
  task: (deadline: Deadline) => Promise<T>,
): Promise<T> {
  const begin = performance.now()
  const controller = new AbortController()
  setMaxListeners(0, controller.signal) // one listener per image
  const gone = () => controller.abort(client.reason)
  if (client.aborted) gone()
  client.addEventListener('abort', gone, { once: true })
  let allowed = ms
  let lastChance: NodeJS.Immediate | undefined
  const expire = () => {
    const message = `The request was not finished within ${allowed} ms. Allow more time, or try again later.`
    controller.abort(new ResidualError('DEADLINE_EXCEEDED', message))
  }
  const startTimer = () =>
    setTimeout(
      () => {
        // After the process or the machine was suspended, timers fire first: work finished meanwhile takes precedence.
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
