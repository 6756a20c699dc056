// The Python whose frameworks residual is compared with.
import { execFileSync } from 'node:child_process'
import { referencePython } from '../../bench/reference-python.ts'

export const python = referencePython

/** Runs a script and returns what it prints. */
export function runPython(script: string, ...args: readonly string[]): string {
  return execFileSync(python, ['-W', 'ignore', '-', ...args], {
    input: script,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
}
