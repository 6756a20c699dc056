// A lock on a file of the cache, across processes: one pull at a time writes it; the others wait and then find it there.
import { open, rename, rm, stat, utimes } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { notWritten } from '../files/atomic-file.ts'

const pollMs = 100
const beatMs = 2000
/** Whoever has not touched its lock for so long is no more. */
const staleMs = 15_000

/**
 * Waits for the lock on `path`, a file beside it, and resolves to a function that gives it back.
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
    utimes(file, now, now).catch(() => {}) // gone: the checksum decides what the file is worth
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

/** Two that see the same stale lock must not both remove it: one of them could remove the other's new one. */
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
    // another was quicker
  }
}
