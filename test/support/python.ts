// The Python whose frameworks residual is compared with.
import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
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

/** Runs a script of the repository while this process goes on, and resolves to what it prints; rejects with its traceback. */
export async function runPythonFile(path: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(python, ['-W', 'ignore', path, ...args])
  return stdout
}
