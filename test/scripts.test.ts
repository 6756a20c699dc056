import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../lib/base/package-root.ts'

const run = promisify(execFile)
const { scripts } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
  scripts: { readonly [name: string]: string }
}

interface ShortForm {
  readonly args: readonly string[]
  readonly says: RegExp
}

/** Scripts that CI would not start otherwise, each so short that it does; what is not started rots. */
const shortForms: { readonly [script: string]: ShortForm } = {
  demo: { args: [], says: /^samples\/ship\.jpg +\S+ +ship 9\d\.\d %/m },
  'test:soak': { args: ['140', '16'], says: /^140 requests, \d+ images.*^0 wrong or lost$/ms },
  'test:slow': { args: ['60'], says: /^60 of 60 were cut off after \d+ s$/m },
  'bench:startup': {
    args: ['--layers', '18', '--batch', '1', '--rounds', '1'],
    says: /^resnet18 +1 +file to first logits, ms +\d+/m,
  },
  'bench:memory': {
    args: ['--layers', '18', '--width-per-group', '64', '--rounds', '1'],
    says: /^safetensors +\d+ +yes +\d+ +\d+/m,
  },
  'bench:serve': {
    args: ['--batch', '4', '--seconds', '0.5', '--rounds', '1'],
    says: /^server, requests of 4, 4 connections +\d+/m,
  },
  'bench:gpu': { args: ['--seconds', '0.1'], says: /skipped, there is no GPU to measure|TFLOP\/s/ },
  'test:mutations:cpu': { args: ['--dry-run'], says: /^\d+ mutations can be applied$/m },
  'test:gpu': { args: [], says: /skipped, all of it: there is no GPU|Tests +\d+ passed/ },
}

/** Started by `test/bench/run.test.ts`, with --write what CI does with --check, a suite of `test:cudnn-versions`, `test/docs.test.ts`. */
const startedOtherwise = ['bench', 'format', 'test:plans', 'docs:images']

/** The last command of a script: what comes before builds what is built already, under the feet of other tests. */
const lastCommand = (script: string) => scripts[script]!.split(' && ').at(-1)!.split(' ')

describe('scripts that CI does not run otherwise', () => {
  it.each(Object.entries(shortForms))(
    'npm run %s works, in short',
    async (script, { args, says }) => {
      const [program, ...rest] = lastCommand(script)
      const starters: { readonly [program: string]: readonly string[] } = {
        node: [],
        tsx: ['--import', 'tsx'],
        vitest: [join('node_modules', 'vitest', 'vitest.mjs')],
      }
      const { stdout } = await run(process.execPath, [...starters[program!]!, ...rest, ...args], {
        cwd: packageRoot,
        env: { ...process.env, NO_COLOR: '1' },
      })
      expect(stdout).toMatch(says)
    },
    300_000,
  )

  it('are all of them', () => {
    const ci = readFileSync(join(packageRoot, '.ci', 'run'), 'utf8')
    const started = new Set<string>()
    const start = (name: string) => {
      if (started.has(name) || scripts[name] === undefined) return
      started.add(name)
      for (const other of [`pre${name}`, `post${name}`, ...namesIn(scripts[name])]) start(other)
    }
    for (const name of namesIn(ci)) start(name)
    const commands = [...started].map(name => scripts[name]).join('\n')
    // The same file may be started without its script's name.
    const isStarted = (name: string) =>
      started.has(name) || /\S+\.mjs/.exec(scripts[name]!)?.every(file => commands.includes(file)) === true
    const others = Object.keys(scripts).filter(name => !isStarted(name))
    const expected = [...Object.keys(shortForms), ...startedOtherwise, 'prepack', 'setup:cuda', 'build:cuda']
    for (const name of others) expect(expected).toContain(name)
    for (const name of Object.keys(shortForms)) expect(Object.keys(scripts)).toContain(name)
  })
})

/** Of scripts that a text starts by npm. */
const namesIn = (text: string): string[] =>
  [...text.matchAll(/\bnpm (?:run (?:--silent )?)?([a-z][\w:-]*)/g)].map(([, name]) => name!)
