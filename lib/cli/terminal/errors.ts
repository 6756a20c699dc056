// Errors as the command line prints them.

import { shown } from '../../base/text.ts'
import { ResidualError } from '../../errors.ts'

/** A line for standard error. Messages name their file, but cannot name the source of bytes: `name` supplies that. */
export function errorLine(error: Error, name = ''): string {
  const message = shown(error.message)
  const about = message.includes(shown(name)) ? '' : `${shown(name)}: `
  return `residual: ${about}${message}${error instanceof ResidualError ? ` [${error.code}]` : ''}`
}
