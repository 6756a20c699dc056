// Algorithm choices from earlier timings: a small file per machine in the plan cache's folder.
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ResidualError } from '../../errors.ts'
import { writeAtomically } from '../../files/atomic-file.ts'
import { makeFolder } from '../../files/make-folder.ts'

/** The chosen algorithm by the {@link choiceKey} of a convolution. */
export type Choices = ReadonlyMap<string, string>

/** Raise this when {@link choiceKey} or the file's meaning changes: older files are then ignored. */
const cacheVersion = 2
const mostBytes = 1 << 20 // a network takes about 2 KB

/** `machine` describes everything that choices depend on. */
export function choicesFile(folder: string, machine: string): string {
  return join(folder, `cpu-${hash(`${cacheVersion} ${machine}`)}.json`)
}

const hash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16)

/** Equal for what has equal members, in whatever order, and for that alone. */
export function choiceKey(of: object): string {
  return hash(canonicalJson(of))
}

/** JSON with the members of every object in the order of their names. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  )
}

/** The choices for such a machine; empty if there is no valid file. The caller checks their contents. */
export async function readChoices(folder: string, machine: string): Promise<Choices> {
  const path = choicesFile(folder, machine)
  try {
    const found = await stat(path)
    if (!found.isFile() || found.size > mostBytes) return new Map()
    const { machine: whose, choices } = JSON.parse(await readFile(path, 'utf8'))
    if (whose !== machine || typeof choices !== 'object') return new Map()
    return new Map(
      Object.entries(choices).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    )
  } catch {
    return new Map()
  }
}

/**
 * Call this before timing anything: that can take a minute, which every process would otherwise repeat.
 *
 * @throws ResidualError FILE_WRITE_FAILED if the folder is not writable
 */
export async function checkKept(folder: string): Promise<void> {
  try {
    await makeFolder(folder)
    await access(folder, constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw new ResidualError(
      'FILE_WRITE_FAILED',
      `Autotune cannot store its timings in ${folder}: ${(cause as Error).message}. Set another folder as planCache or in ` +
        'RESIDUAL_CACHE_DIR, or set planCache: null to time everything in every process.',
      { cause },
    )
  }
}

/** Folders that this process was warned about. */
const warned = new Set<string>()

/** For a GPU, which times on first use of a batch size and works without a cache: warns the process once per folder. */
export async function warnUnlessKept(folder: string): Promise<void> {
  try {
    await checkKept(folder)
  } catch (error) {
    if (!warned.has(folder)) process.emitWarning(error as Error)
    warned.add(folder)
  }
}

/** If writing fails nevertheless, the process is warned: it costs the next process time, but not this one its session. */
export async function writeChoices(folder: string, machine: string, choices: Choices): Promise<void> {
  const text = JSON.stringify({ machine, choices: Object.fromEntries(choices) }, null, 2)
  try {
    await writeAtomically(choicesFile(folder, machine), handle => handle.writeFile(`${text}\n`))
  } catch (error) {
    process.emitWarning(error as Error)
  }
}
