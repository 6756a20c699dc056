// Clean-up of temporary files whose writer was killed: the next writer to the folder removes them after an hour.
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** What a file is called until it is whole. The name is short, as that which it is to have may be as long as one can be. */
export const temporaryName = (unique: Buffer) => `.residual-${unique.toString('hex')}.tmp`

/** Those above, and those of the compiled plans that native/cuda/plan_cache.cc writes. */
const temporary = /^(?:\.residual-[0-9a-f]{12}|[0-9a-f]{16}\.plan\.\d+\.\d+)\.tmp$/

/** Nobody writes for so long without touching the file. */
const abandonedMs = 3_600_000

const seen = new Set<string>() // folders, each looked through once a process: there may be a million files in it

/** Removes them from `folder`. Throws nothing: they are in nobody's way. */
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
