// Errors about checkpoints that are invalid or refused.
import { shortened } from '../../base/text.ts'
import { ResidualError } from '../../errors.ts'

const problemLength = 500 // of a message: a name or a shape out of a hostile file may have millions of characters

/** The error for a file that is not what it claims to be. */
export function invalidCheckpoint(
  { path, format }: { readonly path: string; readonly format: string },
  problem: string,
  cause?: unknown,
): ResidualError {
  const message = `${path} is not a valid ${format} file: ${shortened(problem, problemLength)}.`
  return new ResidualError('CHECKPOINT_INVALID', message, { cause })
}

/** The error for a file that may be valid but is not supported. */
export function refusedCheckpoint({ path }: { readonly path: string }, reason: string): ResidualError {
  return new ResidualError(
    'CHECKPOINT_INVALID',
    `${path} is not supported: ${shortened(reason, problemLength)}.`,
  )
}
