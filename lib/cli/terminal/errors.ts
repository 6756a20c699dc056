// Errors as the command line prints them.

import { shown } from '../../base/text.ts'
import { ResidualError } from '../../errors.ts'

/** A line on standard error. Messages name the file they are about, but not where its bytes came from: that is then `name`. */
export function errorLine(error: Error, name = ''): string {
  const message = shown(error.message)
  const about = message.includes(shown(name)) ? '' : `${shown(name)}: `
  return `residual: ${about}${message}${error instanceof ResidualError ? ` [${error.code}]` : ''}`
}
