// A lock on a file of the cache, across processes: one pull at a time writes it; the others wait and then find it there.
import { open, rename, rm, stat, utimes } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { notWritten } from '../files/atomic-file.ts'

const pollMs = 100
const beatMs = 2000
/** A process that has not touched its lock for this long is gone. */
const staleMs = 15_000

/**
 * Waits for the lock on `path`, a file next to it, and resolves to a function that releases it.
 *
 * @throws ResidualError FILE_WRITE_FAILED; the signal's reason
 */
export async function lock(path: string, signal: AbortSignal | undefined): Promise<() => Promise<void>> {
  const file = `${path}.lock`
  while (!(await take(file))) {
    await removeStale(file)
    await delay(pollMs, undefined, signal ? { signal } : {}).catch(() => {})
    signal?.throwIfAborted()
  }
  const beat = setInterval(() => {
    const now = new Date()
    utimes(file, now, now).catch(() => {}) // removed: the checksum decides whether the file is good
  }, beatMs)
  beat.unref()
  return async () => {
    clearInterval(beat)
    await rm(file, { force: true })
  }
}

async function take(file: string): Promise<boolean> {
  try {
    await (await open(file, 'wx')).close()
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw notWritten(file, cause)
  }
}

/** If two processes see the same stale lock, only one may remove it: the other could remove the first one's new lock. */
async function removeStale(file: string): Promise<void> {
  try {
    const { mtimeMs } = await stat(file)
    if (Date.now() - mtimeMs < staleMs) return
    const aside = `${file}.${process.pid}`
    await rename(file, aside)
    const moved = await stat(aside)
    if (moved.mtimeMs === mtimeMs) await rm(aside)
    else await rename(aside, file)
  } catch {
    // another process was quicker
  }
}
