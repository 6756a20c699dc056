import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import semver from 'semver'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'

const run = promisify(execFile)
const readJson = (...path: string[]) => JSON.parse(readFileSync(join(packageRoot, ...path), 'utf8'))
const { engines, dependencies, allowScripts } = readJson('package.json')

describe('package.json', () => {
  it.each(Object.keys(dependencies))('promises no Node that %s does not work with', name => {
    const range = readJson('node_modules', name, 'package.json').engines?.node ?? '*'
    expect(semver.subset(engines.node, range), `${engines.node} within ${range}`).toBe(true)
  })

  it('states the same Node versions as README.md and the tests', () => {
    expect(semver.satisfies(process.version, engines.node)).toBe(true)
    const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8')
    const { version } = semver.minVersion(engines.node)!
    expect(readme).toContain(`Node ${version.replace(/\.0$/, '')}`)
  })

  it('lets no dependency run an install script: one would download GPU libraries', () => {
    const { packages } = readJson('package-lock.json')
    const withScript = Object.entries<{ hasInstallScript?: boolean }>(packages)
      .filter(([path, { hasInstallScript }]) => path !== '' && hasInstallScript)
      .map(([path]) => path.split('node_modules/').at(-1)!)
    expect(withScript).toContain('onnxruntime-node')
    expect(allowScripts).toEqual(Object.fromEntries(withScript.map(name => [name, false])))
  })
})

describe('npx in a clone', () => {
  it('prints nothing of its own', async () => {
    const env = { ...process.env, npm_config_update_notifier: 'false' }
    const command = ['--no-install', 'residual', '--version']
    const { stdout, stderr } = await run('npx', command, { cwd: packageRoot, env })
    expect(stdout).toBe(`${readJson('package.json').version}\n`)
    expect(stderr).toBe('')
  })
})
