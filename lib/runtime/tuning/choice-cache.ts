// Choices that were timed once, kept for the next process: in the folder of compiled plans, a small file for each machine.
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, mkdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ResidualError } from '../../errors.ts'
import { writeAtomically } from '../../files/atomic-file.ts'

/** By the {@link choiceKey} of what was to be chosen for. */
export type Choices = ReadonlyMap<string, string>

/** To be raised when {@link choiceKey} or the file means something else: older files are left alone. */
const cacheVersion = 2
const mostBytes = 1 << 20 // a network takes some 2 KB

/** `machine` is all that choices depend on, in words. */
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

/** What was chosen on such a machine; none where there is no file, or not one of ours. Whoever uses it checks what it says. */
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
 * To be asked before anything is timed, which can take a minute that every process would spend anew.
 *
 * @throws ResidualError FILE_WRITE_FAILED where nothing can be kept in the folder
 */
export async function checkKept(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true })
    await access(folder, constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw new ResidualError(
      'FILE_WRITE_FAILED',
      `What autotune times cannot be kept in ${folder}: ${(cause as Error).message}. Give another folder as planCache or in ` +
        'RESIDUAL_CACHE_DIR, or planCache: null to time everything in every process.',
      { cause },
    )
  }
}

/** A file that cannot be written all the same costs the next process its time, not this one its session; the process is warned. */
export async function writeChoices(folder: string, machine: string, choices: Choices): Promise<void> {
  const text = JSON.stringify({ machine, choices: Object.fromEntries(choices) }, null, 2)
  try {
    await writeAtomically(choicesFile(folder, machine), handle => handle.writeFile(`${text}\n`))
  } catch (error) {
    process.emitWarning(error as Error)
  }
}
