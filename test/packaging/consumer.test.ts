import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { temporaryFolder } from '../support/files.ts'

const run = promisify(execFile)
const modules = join(packageRoot, 'node_modules')

/** The oldest TypeScript that README.md promises. It would take the place of `tsc` among the devDependencies. */
const oldest = '5.4.5'

/** Its compiler, fetched once; undefined where there is no way to the registry. */
function oldestCompiler(): string | undefined {
  const folder = join(packageRoot, '.deps', `typescript-${oldest}`)
  const compiler = join(folder, 'node_modules', 'typescript', 'bin', 'tsc')
  if (existsSync(compiler)) return compiler
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{}')
  try {
    execFileSync('npm', ['install', '--no-audit', '--no-fund', `typescript@${oldest}`], {
      cwd: folder,
      stdio: 'pipe',
    })
    return compiler
  } catch (error) {
    console.log(`skipped: TypeScript ${oldest} cannot be downloaded. ${(error as Error).message}`)
    return undefined
  }
}

const compilers: [string, string][] = [
  ['of this repository', join(modules, 'typescript', 'bin', 'tsc')],
  ...[oldestCompiler()].flatMap(path => (path ? [[oldest, path] as [string, string]] : [])),
]

const folder = temporaryFolder()
let tarball: string
beforeAll(async () => {
  await run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], {
    cwd: packageRoot,
  })
  tarball = join(folder, readdirSync(folder).find(name => name.endsWith('.tgz'))!)
})

describe('the package as it is published', () => {
  it('passes publint', async () => {
    const publint = join(modules, 'publint', 'src', 'cli.js')
    const { stdout } = await run(process.execPath, [publint, 'run', '--strict', tarball])
    expect(stdout).toContain('All good!')
  })

  it('has types for every kind of resolution (@arethetypeswrong/cli)', async () => {
    const attw = join(modules, '@arethetypeswrong', 'cli', 'dist', 'index.js')
    // It is ESM alone: CommonJS has `await import`, as README.md says.
    const rules = ['--ignore-rules', 'cjs-resolves-to-esm']
    const { stdout } = await run(process.execPath, [attw, tarball, '--no-emoji', '--no-color', ...rules])
    expect(stdout).toContain('No problems found')
  })
})

/** A program of somebody else's. What it calls is in the README. */
const program = `
import { Batcher, createSession, load, lower, ResidualError, resnet, type Classifier, type Prediction } from 'residual'
import { serve, type RunningServer } from 'residual/server'
export async function likeliest(image: string): Promise<Prediction> {
  const classifier: Classifier = await load('resnet50-cifar10', { threads: 1 })
  const { pixels } = await classifier.prepare(image)
  const { logits } = await classifier.run(pixels)
  const first: number = logits[0]!
  const owned: ArrayBuffer = logits.buffer
  const [predictions] = await classifier.classify([image], { topK: 5 })
  const server: RunningServer = await serve({ models: ['resnet50-cifar10'], port: 0 })
  await server.stop()
  if (!predictions || !('length' in predictions)) throw new Error(String(first + owned.byteLength))
  return predictions[0] as Prediction
}
export const names = [Batcher, createSession, lower, ResidualError, resnet].map(each => each.name)
`
const commonJs = `
import type { Classifier } from 'residual' with { 'resolution-mode': 'import' }
export let classifier: Classifier | undefined
export async function likeliest(image: string): Promise<unknown> {
  const { load } = await import('residual')
  const { serve } = await import('residual/server')
  await (await serve({ models: ['resnet50-cifar10'] })).stop()
  return (await load('resnet50-cifar10')).classify([image])
}
`

describe.each(compilers)('a program compiled without skipLibCheck by TypeScript %s', (version, compiler) => {
  const place = join(folder, `consumer-${version.replaceAll(' ', '-')}`)
  beforeAll(async () => {
    mkdirSync(join(place, 'node_modules', '@types'), { recursive: true })
    const installed = join(place, 'node_modules', 'residual')
    mkdirSync(installed)
    await run('tar', ['-xzf', tarball, '--strip-components=1', '-C', installed])
    symlinkSync(modules, join(installed, 'node_modules')) // its dependencies
    symlinkSync(join(modules, '@types', 'node'), join(place, 'node_modules', '@types', 'node'))
    writeFileSync(join(place, 'package.json'), '{}')
    writeFileSync(join(place, 'program.mts'), program)
    writeFileSync(join(place, 'program.ts'), program)
    writeFileSync(join(place, 'common.cts'), commonJs)
  })

  const compile = async (...args: string[]) => {
    const options = ['--noEmit', '--strict', '--target', 'es2022', '--types', 'node', ...args]
    return run(process.execPath, [compiler, ...options], { cwd: place }).then(
      () => '',
      ({ stdout }: { stdout: string }) => stdout,
    )
  }

  const resolutions: [string, string[]][] = [
    ['bundler', ['--module', 'esnext', '--moduleResolution', 'bundler', 'program.ts']],
    ...(version === oldest // the first is what later ones have as nodenext, the second none of them has
      ? ([
          ['node16', ['--module', 'node16', 'program.mts', 'common.cts']],
          [
            'node10',
            ['--module', 'es2022', '--moduleResolution', 'node10', '--esModuleInterop', 'program.ts'],
          ],
        ] as [string, string[]][])
      : [['nodenext', ['--module', 'nodenext', 'program.mts', 'common.cts']] as [string, string[]]]),
  ]
  it.each(resolutions)(
    'is right with modules resolved as by %s',
    async (_, args) => {
      expect(await compile(...args)).toBe('')
    },
    300_000,
  )

  it('gets type errors for wrong uses', async () => {
    writeFileSync(join(place, 'wrong.mts'), program.replace('topK: 5', "topK: 'five'"))
    expect(await compile('--module', 'nodenext', 'wrong.mts')).toMatch(/wrong\.mts\(\d+,\d+\): error TS2322/)
  }, 300_000)
})
