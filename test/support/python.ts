// Which Python has what a test needs? RESIDUAL_PYTHON, else python3.
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'

export const python = process.env.RESIDUAL_PYTHON ?? 'python3'

/** Whether the Python can import these. Where it cannot, says why tests are skipped. */
export function pythonHas(...modules: readonly string[]): boolean {
  const { status, error, stderr } = spawnSync(python, ['-W', 'ignore', '-c', `import ${modules.join(', ')}`])
  if (status === 0) return true
  const reason = error?.message ?? stderr.toString().trim().split('\n').at(-1)
  console.warn(
    `skipped: ${python} cannot import ${modules.join(' and ')} (${reason}); RESIDUAL_PYTHON names another`,
  )
  return false
}

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
