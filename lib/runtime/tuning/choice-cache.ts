// Algorithm choices from earlier timings: a small file per machine in the plan cache's folder.
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, mkdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ResidualError } from '../../errors.ts'
import { writeAtomically } from '../../files/atomic-file.ts'

/** By what was to be chosen for. */
export type Choices = ReadonlyMap<string, string>

const mostBytes = 1 << 20 // a network takes some 2 KB

/** `machine` is all that choices depend on, in words. */
export function choicesFile(folder: string, machine: string): string {
  const digest = createHash('sha256').update(machine).digest('hex')
  return join(folder, `cpu-${digest.slice(0, 16)}.json`)
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
