import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { packageRoot } from '../lib/base/package-root.ts'

it('binding.gyp has what native/build.json says', () => {
  const script = join(packageRoot, 'scripts', 'native', 'write-gyp.mjs')
  expect(() => execFileSync(process.execPath, [script, '--check'], { stdio: 'pipe' })).not.toThrow()
})
