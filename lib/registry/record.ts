// The record written next to a pulled checkpoint: the one every model may have, plus its origin.
import { readFile } from 'node:fs/promises'
import { writeAtomically } from '../files/atomic-file.ts'
import { recordPath } from '../weights/checkpoint/record-path.ts'
import type { Source } from './source.ts'
import type { CheckedAgainst } from './verify.ts'

/** What is written into a record beside what a model needs. */
export interface Origin {
  readonly url: string
  readonly sha256: string
  readonly bytes: number
  readonly checkedAgainst: CheckedAgainst
  readonly licence?: string
}

/** Where a pulled checkpoint is from, by its record; undefined where that does not say. */
export async function readOrigin(path: string): Promise<Origin | undefined> {
  try {
    const { origin } = JSON.parse(await readFile(recordPath(path), 'utf8'))
    return typeof origin?.sha256 === 'string' && typeof origin.bytes === 'number' ? origin : undefined
  } catch {
    return undefined // it is written anew with the file
  }
}

/**
 * To be called before a checkpoint is put in its place, so that it is never there without what belongs to it.
 *
 * @throws ResidualError FILE_WRITE_FAILED
 */
export async function writeRecord(
  path: string,
  { url, checkpoint }: Source,
  found: Pick<Origin, 'sha256' | 'bytes' | 'checkedAgainst'>,
): Promise<void> {
  const { architecture, preprocessing, licence } = checkpoint ?? {}
  const origin = { url, ...found, ...(licence && { licence }) }
  const record = { ...(architecture && { architecture }), ...(preprocessing && { preprocessing }), origin }
  await writeAtomically(recordPath(path), handle => handle.writeFile(`${JSON.stringify(record, null, 2)}\n`))
}
