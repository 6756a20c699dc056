// Breaking the project in one place.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A change of one place in a file. */
export interface Change {
  /** What goes wrong. */
  readonly title: string
  readonly file: string
  /** Occurs in it once. */
  readonly find: string
  readonly replace: string
}

/** Changes a file of `folder`; returns what takes the change back. */
export function apply({ title, file, find, replace }: Change, folder: string): () => void {
  const path = join(folder, file)
  const original = readFileSync(path, 'utf8')
  if (original.split(find).length !== 2)
    throw new Error(`'${title}': ${JSON.stringify(find)} does not occur once in ${file}`)
  writeFileSync(
    path,
    original.replace(find, () => replace),
  )
  return () => writeFileSync(path, original)
}
