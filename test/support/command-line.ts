// The command line as users run it: the built one, in a process of its own.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package-root.ts'

export interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export function residual(folder: string, args: readonly string[], stdin?: Uint8Array): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(packageRoot, 'bin', 'residual.js'), ...args], { cwd: folder })
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', text => {
        output[name] += text
      })
    }
    child.on('error', reject).on('close', code => resolve({ code, ...output }))
    child.stdin.end(stdin)
  })
}
