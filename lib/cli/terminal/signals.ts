// Commands that stop on Ctrl-C or SIGTERM.
import { constants } from 'node:os'

/**
 * Runs a command that stops early, but cleanly, once its controller is aborted. Resolves to its exit code or, if it was
 * stopped, to the shell's exit code for the signal. A second signal ends the process at once.
 */
export async function untilStopped(command: (stop: AbortController) => Promise<number>): Promise<number> {
  const stop = new AbortController()
  let code: number | undefined
  const onSignal = (signal: 'SIGINT' | 'SIGTERM') => {
    code = 128 + constants.signals[signal]
    stop.abort()
  }
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  try {
    const done = await command(stop)
    return code ?? done
  } catch (error) {
    if (code === undefined) throw error
    return code
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  }
}
