// Which Python has what a test needs? RESIDUAL_PYTHON, else python3.
import { execFileSync, spawnSync } from 'node:child_process'

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
