// The Python whose frameworks this package is compared with.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/package-root.ts'

/** Where `npm run setup:reference` installs the frameworks. */
const reference = join(packageRoot, '.deps', 'python', 'bin', 'python3')

/** `RESIDUAL_PYTHON`, else that of `npm run setup:reference`, else `python3`. */
export const python = process.env.RESIDUAL_PYTHON ?? (existsSync(reference) ? reference : 'python3')

/** Runs a script and returns what it prints. */
export function runPython(script: string, ...args: readonly string[]): string {
  return execFileSync(python, ['-W', 'ignore', '-', ...args], {
    input: script,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
}
