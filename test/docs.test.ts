// What visitors read: the README is short, links lead somewhere, and images are what their scripts make. `npm run docs`, which CI runs,
// refuses dead links of the site; here are those that lead out of docs/, and the README's.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from './support/files.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const pages = [
  ...readdirSync(root).filter(name => name.endsWith('.md')),
  'examples/README.md',
  ...readdirSync(join(root, 'docs'))
    .filter(name => name.endsWith('.md'))
    .map(name => `docs/${name}`),
]

/** Anchors as GitHub and VitePress make them of headings. */
function anchorsOf(path: string): string[] {
  const headings = [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading!)
  return headings.map(heading =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-'),
  )
}

/** What is wrong with the links and images of a page's text, which stands at `path`. */
function deadLinks(path: string, text: string): string[] {
  const prose = text.replace(/^ *```.*?^ *```/gms, '')
  const targets = [...prose.matchAll(/\]\(([^)\s]+)\)|<img src="([^"]+)"/g)].map(
    ([, link, image]) => link ?? image!,
  )
  return targets.filter(target => {
    const [file, anchor] = target.split('#') as [string, string?]
    if (/^[a-z]+:/.test(target)) return false
    const full = relative(root, join(root, dirname(path), file))
    if (full.startsWith('docs/api/')) return false // generated: the site's build looks after them
    const page = file === '' ? path : full
    return !existsSync(join(root, page)) || (anchor !== undefined && !anchorsOf(page).includes(anchor))
  })
}

describe('what visitors read', () => {
  it('the README has fewer than 150 lines, the two commands, and calls the GPU experimental', () => {
    const text = read('README.md')
    expect(text.split('\n').length).toBeLessThan(150)
    for (const command of ['npm install residual', 'npm run demo', 'npm test'])
      expect(text).toContain(command)
    expect(text).toMatch(/GPUs are experimental/)
  })

  it.each(pages)('%s has no dead links', path => {
    expect(deadLinks(path, read(path))).toEqual([])
  })

  it.each(pages.filter(path => path !== 'CHANGELOG.md'))(
    '%s names files of the repository that there are',
    path => {
      const named = [
        ...read(path).matchAll(/`((?:bench|deploy|examples|lib|native|protocol|scripts|test)\/[\w./-]+)`/g),
      ]
      const missing = named.map(([, file]) => file!).filter(file => !existsSync(join(root, file)))
      expect(missing.filter(file => !file.includes('NAME'))).toEqual([])
    },
  )

  it('dead links are found', () => {
    const text =
      '[a](no.md) [b](docs/serve.md#nothing) ![c](docs/no.png) [d](docs/serve.md#call-it) [e](#f)\n'
    expect(deadLinks('README.md', text)).toEqual(['no.md', 'docs/serve.md#nothing', 'docs/no.png', '#f'])
  })

  it("the README's figures of speed are those of docs/benchmark.md", () => {
    const rows = [
      ...read('README.md').matchAll(/^\| (\d+) \| (\d[\d,]* ms) \| (\d[\d,]* ms) \| ([\d.]+ \([\d.-]+\))/gm),
    ]
    expect(rows).toHaveLength(3)
    for (const [, batch, ours, theirs, ratio] of rows)
      expect(read('docs/benchmark.md')).toContain(
        `| ResNet-50 | 2 | ${batch} | ${ours} | ${theirs} | ${ratio}`,
      )
  })

  it('the chart of the benchmark is that of the table in docs/benchmark.md', () => {
    const folder = temporaryFolder()
    const script = join('scripts', 'docs-images.mjs')
    execFileSync(process.execPath, [script, '--out', folder, 'benchmark.svg'], { cwd: root })
    expect(readFileSync(join(folder, 'benchmark.svg'), 'utf8')).toBe(read('docs/media/benchmark.svg'))
  })

  it('every page of docs/ is in the sidebar', () => {
    const config = read('docs/.vitepress/config.mjs')
    for (const page of pages.filter(path => path.startsWith('docs/') && path !== 'docs/index.md'))
      expect(config).toContain(`'/${page.slice('docs/'.length, -'.md'.length)}'`)
  })
})
