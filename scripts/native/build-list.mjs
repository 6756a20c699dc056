// native/build.json, resolved: the files of the CPU's addon, and the flags that each takes on an architecture.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { globSync } from 'tinyglobby'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const list = JSON.parse(readFileSync(join(root, 'native', 'build.json'), 'utf8'))

/** Of all files. */
export const { defines, flags } = list

const matching = patterns => globSync(patterns, { cwd: root, expandDirectories: false }).sort()

/** Relative to {@link root}. */
export const cpuSources = matching(list.cpuSources)

/** @returns {Map<string, string[]>} by file, those that it takes beside {@link flags}; `arch` as `process.arch` has it */
export function flagsByFile(arch) {
  const all = new Map(cpuSources.map(file => [file, []]))
  for (const entry of list.flagsOf)
    if (entry.arch === undefined || entry.arch === arch)
      for (const file of matching(entry.files)) all.get(file)?.push(...entry.flags)
  return all
}
