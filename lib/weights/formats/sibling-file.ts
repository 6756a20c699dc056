// Other files that a checkpoint names as part of itself: they must lie in its own folder.
import { dirname, join } from 'node:path'
import { invalidCheckpoint } from '../checkpoint/checkpoint-error.ts'

/**
 * The path of the file called `name` in the folder of `file`.
 *
 * @throws ResidualError CHECKPOINT_INVALID for names that lead elsewhere on any system
 */
export function siblingFile(file: { readonly path: string; readonly format: string }, name: string): string {
  if (name === '' || name === '.' || name === '..' || /[/\\:\0]/.test(name))
    throw invalidCheckpoint(file, `it names '${name}', which is not a file in its own folder`)
  return join(dirname(file.path), name)
}
