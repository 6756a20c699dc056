// Clean-up of temporary files whose writer was killed: the next writer to the folder removes them after an hour.
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** The name of a file until it is complete. It is short because the final name may already have the longest length allowed. */
export const temporaryName = (unique: Buffer) => `.residual-${unique.toString('hex')}.tmp`

/** These names, and those that native/cuda/plan_cache.cc gives to unfinished compiled plans. */
const temporary = /^(?:\.residual-[0-9a-f]{12}|[0-9a-f]{16}\.plan\.\d+\.\d+)\.tmp$/

/** No writer leaves its file untouched for this long. */
const abandonedMs = 3_600_000

const seen = new Set<string>() // folders, each scanned once per process: it may hold a million files

/** Removes them from `folder`. Never throws: they do no harm. */
export async function removeAbandoned(folder: string): Promise<void> {
  if (seen.has(folder)) return
  seen.add(folder)
  const names = await readdir(folder).catch(() => [])
  for (const name of names) {
    if (!temporary.test(name)) continue
    const path = join(folder, name)
    const found = await stat(path).catch(() => undefined)
    if (found && Date.now() - found.mtimeMs > abandonedMs) await rm(path, { force: true }).catch(() => {})
  }
}
