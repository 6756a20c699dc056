// Choices that were timed once, kept for the next process: in the folder of compiled plans, a small file for each machine.
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, mkdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
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
    await makeFolder(folder)
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

/** With the folders above it. Node's own way to do that never ends where the parent takes no folders, as /proc does not. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    if (code !== 'ENOENT' || dirname(folder) === folder) throw error
    await makeFolder(dirname(folder))
    await mkdir(folder).catch(again => {
      if ((again as NodeJS.ErrnoException).code !== 'EEXIST') throw again
    })
  }
}

/** Folders of which this process was warned. */
const warned = new Set<string>()

/** For a GPU, which times its candidates on first use of a batch size and goes on without a cache: the process is warned, once. */
export async function warnUnlessKept(folder: string): Promise<void> {
  try {
    await checkKept(folder)
  } catch (error) {
    if (!warned.has(folder)) process.emitWarning(error as Error)
    warned.add(folder)
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
