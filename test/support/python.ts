// The Python that a test needs, and what it has.
import { execFileSync, spawnSync } from 'node:child_process'
import { referencePython as python } from '../../bench/reference-python.ts'

export { python }

/** Whether the Python can import these. Where it cannot, says why tests are skipped. */
export function pythonHas(...modules: readonly string[]): boolean {
  const { status, error, stderr } = spawnSync(python, ['-W', 'ignore', '-c', `import ${modules.join(', ')}`])
  if (status === 0) return true
  const reason = error?.message ?? stderr.toString().trim().split('\n').at(-1)
  console.warn(
    `skipped: ${python} cannot import ${modules.join(' and ')} (${reason}); \`npm run setup:reference\` makes one that can, RESIDUAL_PYTHON names another`,
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
