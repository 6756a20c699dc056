// Is there a Python with the packages a test wants?
import { execFileSync } from 'node:child_process'

/** Its command: `RESIDUAL_PYTHON`, or `python3`. Where it lacks one of the modules, says why tests are skipped. */
export function pythonWith(...modules: readonly string[]): string | undefined {
  const command = process.env.RESIDUAL_PYTHON ?? 'python3'
  const code = `from importlib.util import find_spec as f; print(*[m for m in '${modules}'.split(',') if not f(m)])`
  try {
    const missing = execFileSync(command, ['-c', code], { encoding: 'utf8', stdio: 'pipe' }).trim()
    if (missing === '') return command
    console.warn(`skipped: ${command} has no ${missing}; RESIDUAL_PYTHON names another`)
  } catch (error) {
    console.warn(`skipped: ${command} does not run: ${(error as Error).message.split('\n')[0]}`)
  }
  return undefined
}
