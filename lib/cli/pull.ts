// `residual pull`: download a well-known checkpoint.
import cliProgress from 'cli-progress'
import { outOfRange } from '../errors.ts'
import { alignColumns } from '../model/format-plan.ts'
import { cachedModel } from '../registry/cache.ts'
import { type Checkpoint, checkpoints } from '../registry/checkpoints.ts'
import type { Progress } from '../registry/download.ts'
import { type PullOptions, pull } from '../registry/pull.ts'
import { readOrigin } from '../registry/record.ts'
import { say, sayAll, sayJson, warn } from './terminal/print.ts'

export interface PullArguments {
  readonly sha256?: string
  readonly offline?: boolean
  readonly list?: boolean
  readonly json?: boolean
}

/** Prints the path. Resolves to 130 if stopped by Ctrl-C; the next pull resumes from there. */
export async function pullModel(
  name: string | undefined,
  file: string | undefined,
  options: PullArguments,
): Promise<number> {
  const { list, json, sha256, offline } = options
  if (list) {
    json ? sayJson(listed()) : sayAll(listText())
    return 0
  }
  if (name === undefined) throw outOfRange('a name, or --list', 'pull', name)
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  const show = process.stderr.isTTY ? progressBar() : progressLines(name)
  try {
    const { signal } = stop
    const rest: PullOptions = {
      ...(file && { file }),
      ...(sha256 && { sha256 }),
      ...(offline && { offline }),
    }
    const path = await pull(name, { signal, onProgress: show.progress, onRetry, ...rest })
    show.end()
    const origin = await readOrigin(path)
    json ? sayJson({ name, path, ...origin }) : say(path)
    return 0
  } catch (error) {
    show.end()
    if (!stop.signal.aborted) throw error
    warn('residual: stopped. The partial download is kept; the same command resumes it.')
    return 130
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  }
}

function onRetry(reason: string, waitMs: number): void {
  warn(`residual: ${reason}; retrying in ${(waitMs / 1000).toFixed(0)} s`)
}

interface Show {
  progress(progress: Progress): void
  end(): void
}

const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1)

function progressBar(): Show {
  const format = '{bar} {percentage} % of {size} MiB, {eta_formatted} left'
  const bar = new cliProgress.SingleBar({ format, clearOnComplete: true }, cliProgress.Presets.shades_classic)
  let started = false
  return {
    progress({ received, total }) {
      const size = total === undefined ? '?' : mebibytes(total)
      if (!started) bar.start(total ?? received, received, { size })
      started = true
      bar.setTotal(Math.max(1, total ?? received))
      bar.update(received, { size })
    },
    end() {
      bar.stop()
    },
  }
}

/** For logs: a line at the start and one per tenth or, if the size is unknown, per 16 MiB. */
function progressLines(name: string): Show {
  let next = 0
  return {
    progress({ received, total }) {
      if (received < next) return
      const step = total === undefined ? 2 ** 24 : Math.max(1, total / 10)
      next = (Math.floor(received / step) + 1) * step
      warn(`${name}: ${mebibytes(received)}${total === undefined ? '' : ` of ${mebibytes(total)}`} MiB`)
    },
    end() {},
  }
}

/** How many digits of a file's SHA-256 the registry knows. */
function pinned({ sha256 }: Checkpoint): string {
  return sha256 === undefined ? 'by the hub' : sha256.length === 64 ? 'whole' : `${sha256.length} digits`
}

function listed() {
  return Object.entries(checkpoints).map(([name, checkpoint]) => {
    const { architecture, top1, size, licence, sha256 } = checkpoint
    const path = cachedModel(name)?.path
    return { name, ...architecture, top1, size, licence, sha256, pinned: pinned(checkpoint), path }
  })
}

function listText(): string {
  const rows = listed().map(({ name, layers, top1, size, licence, pinned, path }) => [
    name,
    `${layers}`,
    top1 === undefined ? '?' : `${top1.toFixed(1)} %`,
    size ?? '?',
    licence,
    pinned,
    path === undefined ? '' : 'yes',
  ])
  return alignColumns([['name', 'layers', 'top-1', 'size', 'licence', 'SHA-256', 'here'], ...rows]).join('\n')
}
