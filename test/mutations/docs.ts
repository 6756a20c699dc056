// The page that lists the mutations and what catches each: docs/mutations.md.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package-root.ts'
import { cpuMutations } from './cpu-mutations.ts'
import { mutations } from './mutations.ts'

const page = join(packageRoot, 'docs', 'mutations.md')

/** The rows of both tables, by the mutation's title. */
export type Rows = Map<string, string>

/** What earlier runs found. */
export function readRows(): Rows {
  const lines = existsSync(page) ? readFileSync(page, 'utf8').split('\n') : []
  return new Map(
    lines.filter(line => line.startsWith('| ')).map(line => [line.split(' | ')[0]!.slice(2), line]),
  )
}

export const rowOf = (title: string, caught: string | undefined) =>
  `| ${title} | ${caught ?? '**nothing**'} |`

export function writeRows(rows: ReadonlyMap<string, string>): void {
  const text = [
    '# Broken on purpose',
    '',
    '`npm run test:mutations` breaks the CUDA backend in each of these ways, one at a time, builds its twin and runs',
    '`test/cuda` on it. The last column is the first test that fails.',
    ...table(mutations, rows),
    '',
    '## Fewer bits on the CPU',
    '',
    '`npm run test:mutations:cpu` does the same with what computes in bf16 and int8 on the CPU, and with what quantizes for it. It takes',
    'a CPU with AMX.',
    ...table(cpuMutations, rows),
  ]
  writeFileSync(page, `${text.join('\n')}\n`)
}

function table(of: readonly { readonly title: string }[], rows: ReadonlyMap<string, string>): string[] {
  const untried = of.filter(({ title }) => !rows.has(title)).map(({ title }) => title)
  return [
    ...(untried.length > 0 ? ['', `Not tried yet: ${untried.join('; ')}.`] : []),
    '',
    '| what is broken | caught by |',
    '| --- | --- |',
    ...of.flatMap(({ title }) => rows.get(title) ?? []),
  ]
}
