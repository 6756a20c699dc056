// The files that match a glob pattern.
import type { Dirent } from 'node:fs'
import { lstat, readdir, stat } from 'node:fs/promises'
import { alternatives, isPattern, matcher } from './pattern.ts'

/**
 * The files that match a pattern, in order, each once. Links to folders are followed where the pattern names them, but not by
 * `**`.
 */
export async function filesOf(pattern: string): Promise<string[]> {
  const found = new Set<string>()
  for (const alternative of alternatives(pattern)) await search(alternative, found)
  return [...found].sort()
}

/** A folder, and the part of the pattern still to be matched within it. */
interface State {
  readonly folder: string // '' or with a slash at its end
  readonly segment: number
}

async function search(pattern: string, found: Set<string>): Promise<void> {
  const segments = pattern.split('/').filter((segment, i, all) => segment !== '**' || all[i - 1] !== '**')
  const open: State[] = [{ folder: '', segment: 0 }]
  const seen = new Set<string>() // several `**` would reach the same state repeatedly
  for (let state = open.pop(); state; state = open.pop()) {
    const { folder, segment } = state
    const key = `${segment} ${folder}`
    if (seen.has(key)) continue
    seen.add(key)
    const text = segments[segment]!
    const isLast = segment === segments.length - 1
    const meet = async (path: string, entry?: Dirent) => {
      if (isLast) {
        if (entry?.isFile() || (await isFile(path))) found.add(path)
      } else open.push({ folder: `${path}/`, segment: segment + 1 })
    }
    if (text !== '**' && !isPattern(text)) {
      await meet(folder + text.replace(/\\(.)/gs, '$1')) // '' at the front of an absolute path
      continue
    }
    const matches = text === '**' ? undefined : matcher(text)
    if (!matches && !isLast) open.push({ folder, segment: segment + 1 }) // matching no folder at all
    const entries = await readdir(folder || '.', { withFileTypes: true }).catch(() => [])
    for (const entry of entries) {
      const isHidden = entry.name.startsWith('.')
      if (matches) {
        if (matches(entry.name) && (!isHidden || text.startsWith('.'))) await meet(folder + entry.name, entry)
      } else if (!isHidden) {
        if (entry.isDirectory()) open.push({ folder: `${folder}${entry.name}/`, segment })
        else if (isLast) await meet(folder + entry.name, entry)
      }
    }
  }
}

/** A dangling link counts as a file: reading it reports the error. */
async function isFile(path: string): Promise<boolean> {
  const found = await stat(path)
    .catch(() => lstat(path))
    .catch(() => undefined)
  return found !== undefined && !found.isDirectory()
}
