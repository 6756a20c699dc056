import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { cpuMutations } from './cpu-mutations.ts'
import { mutations } from './mutations.ts'
import { ofToday } from './of-today.ts'

it.each(mutations)('the mutation can be applied: $title', ({ file, find, replace }) => {
  const source = readFileSync(join(packageRoot, 'native', file), 'utf8')
  expect(source.split(find).length - 1, `${find} in ${file}`).toBe(1)
  expect(replace).not.toBe(find)
})

it.each(cpuMutations)('the mutation can be applied on the CPU: $title', ({ file, find, replace, tests }) => {
  const source = readFileSync(join(packageRoot, file), 'utf8')
  expect(source.split(find).length - 1, `${find} in ${file}`).toBe(1)
  expect(replace).not.toBe(find)
  for (const test of tests) expect(existsSync(join(packageRoot, test)), test).toBe(true)
})

it('mutations have distinct titles, all of them listed in docs/mutations.md', () => {
  const titles = [...mutations, ...cpuMutations].map(({ title }) => title)
  expect(new Set(titles).size).toBe(titles.length)
  const docs = readFileSync(join(packageRoot, 'docs', 'mutations.md'), 'utf8')
  for (const title of titles) expect(docs).toContain(`| ${title} | `)
})

it('a few a day get to all of them, none twice before that', () => {
  const all = Array.from({ length: 43 }, (_, i) => i)
  const days = Array.from({ length: 22 }, (_, day) => ofToday(all, 2, (20_000 + day) * 86_400_000))
  const tried = days.flat()
  expect(tried).toHaveLength(44)
  expect(new Set(tried.slice(0, 43)).size).toBe(43)
  expect(ofToday(all, 100, 0)).toEqual(all)
})
