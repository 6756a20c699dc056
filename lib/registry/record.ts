// The record written next to a pulled checkpoint: the one every model may have, plus its origin.
import { readFile } from 'node:fs/promises'
import { writeAtomically } from '../files/atomic-file.ts'
import { recordPath } from '../weights/checkpoint/record-path.ts'
import type { Source } from './source.ts'
import type { CheckedAgainst } from './verify.ts'

/** The origin of a checkpoint, written to its record in addition to what a model needs. */
export interface Origin {
  readonly url: string
  readonly sha256: string
  readonly bytes: number
  readonly checkedAgainst: CheckedAgainst
  readonly licence?: string
}

/** The origin of a pulled checkpoint from its record; undefined if that does not say. */
export async function readOrigin(path: string): Promise<Origin | undefined> {
  try {
    const { origin } = JSON.parse(await readFile(recordPath(path), 'utf8'))
    return typeof origin?.sha256 === 'string' && typeof origin.bytes === 'number' ? origin : undefined
  } catch {
    return undefined // it is rewritten with the file
  }
}

/**
 * Call this before the checkpoint is moved into place, so that it never exists without its record.
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
