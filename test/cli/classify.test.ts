import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { camFiles } from '../../lib/cli/classify/cam-files.ts'
import { findInputs, type Input } from '../../lib/cli/classify/inputs.ts'
import { jsonReport, tableReport } from '../../lib/cli/classify/report.ts'
import { ResidualError } from '../../lib/errors.ts'
import { residual } from '../support/command-line.ts'
import { temporaryFolder } from '../support/files.ts'

const root = temporaryFolder()
const ship = join(packageRoot, 'samples', 'ship.jpg')
const harmless = /^[^\p{Cc}]*$/u

let folder: string
let count = 0
beforeEach(() => {
  folder = join(root, `${count++}`)
  mkdirSync(folder)
})

/** Files below the test's folder, which has `shared` in front of it. */
const touch = (...names: string[]) => {
  for (const name of names) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), '')
  }
}
const namesOf = async (...paths: string[]) => {
  const { inputs, failures } = await findInputs(paths.map(path => join(folder, path)))
  return [
    ...inputs.map(({ name }) => name.slice(folder.length + 1)),
    ...failures.map(({ error }) => (error as ResidualError).code ?? error.name),
  ]
}

describe('the images in a folder', () => {
  it('are those with any image extension, in upper or lower case', async () => {
    const names = [
      'a.jpg',
      'b.JPEG',
      'c.jpe',
      'd.jfif',
      'e.Png',
      'f.webp',
      'g.gif',
      'h.tif',
      'i.TIFF',
      'j.avif',
      'k.heic',
    ]
    touch(...names, 'l.bmp', 'm.txt', 'n.svg', 'jpg', '.hidden.jpg', '.git/o.jpg', 'deep/er/p.jpg')
    expect(await namesOf('')).toEqual([...names, 'deep/er/p.jpg', 'l.bmp'].sort())
  })

  it('are visited once each, whatever links there are, under their own paths', async () => {
    touch('real/a.jpg', 'real/below/b.jpg')
    symlinkSync('.', join(folder, 'aaa'))
    symlinkSync('real', join(folder, 'bbb'))
    symlinkSync('../..', join(folder, 'real', 'below', 'up'))
    symlinkSync('real/a.jpg', join(folder, 'linked.jpg'))
    expect(await namesOf('')).toEqual(['linked.jpg', 'real/a.jpg', 'real/below/b.jpg'])
    expect(await namesOf('bbb')).toEqual(['bbb/a.jpg', 'bbb/below/b.jpg', 'bbb/below/up/linked.jpg'])
    expect(await namesOf('real/')).toEqual(['real/a.jpg', 'real/below/b.jpg', 'real/below/up/linked.jpg'])
  })

  it('come with a report of links that are broken or circular', async () => {
    symlinkSync('nowhere', join(folder, 'dangling.jpg'))
    symlinkSync('circle.png', join(folder, 'circle.png'))
    expect(await namesOf('')).toEqual(['circle.png', 'dangling.jpg'])
  })
})

describe('a pattern', () => {
  it.each<[string, string[]]>([
    ['*.jpg', ['a.jpg', 'b.jpg']],
    ['?.jpg', ['a.jpg', 'b.jpg']],
    ['[ab].*', ['a.jpg', 'a.png', 'b.jpg']],
    ['[!a].*', ['b.jpg']],
    ['[a-b].p*g', ['a.png']],
    ['{a,sub/c}.{jpg,gif}', ['a.jpg', 'sub/c.gif']],
    ['p{1..3}', ['p1', 'p3']],
    ['{a,{b,sub/c}}.*g*', ['a.jpg', 'a.png', 'b.jpg', 'sub/c.gif']],
    ['**', ['[x].tif', 'a.jpg', 'a.png', 'b.jpg', 'p1', 'p3', 'sub/c.gif', 'sub/deep/a.jpg']],
    ['**/a.*', ['a.jpg', 'a.png', 'sub/deep/a.jpg']],
    ['**/**/deep/**', ['sub/deep/a.jpg']],
    ['*/*', ['linked/c.gif', 'sub/c.gif']],
    ['.*/*', ['.dot/e.jpg']],
    ['linked/*', ['linked/c.gif']],
    ['\\[x\\].t?f', ['[x].tif']],
    ['[x].tif', ['[x].tif']],
    ['[]a].jpg', ['a.jpg']],
    ['{a}.jpg', ['FILE_NOT_FOUND']],
    ['+(a|b).jpg', ['+(a|b).jpg']],
    ['*.none', ['FILE_NOT_FOUND']],
    ['{1..99999}', ['RangeError']],
    [`${'{a,b}'.repeat(20)}`, ['RangeError']],
  ])('%j means what it says', async (pattern, expected) => {
    touch('a.jpg', 'a.png', 'b.jpg', 'p1', 'p3', 'sub/c.gif', 'sub/deep/a.jpg', '.dot/e.jpg', '[x].tif')
    symlinkSync('sub', join(folder, 'linked'))
    expect(await namesOf(pattern)).toEqual(expected)
  })

  it('never takes long: no name and no pattern causes backtracking', async () => {
    touch(`${'a'.repeat(250)}.jpg`, `${Array(20).fill('a').join('/')}/b.jpg`)
    expect(await namesOf(`${'*a'.repeat(60)}x`)).toEqual(['FILE_NOT_FOUND'])
    expect(await namesOf('*(a|aa)*(a|aa)*(a|aa)*(a|aa)*(a|aa)*(a|aa)*(a|aa)*(a|aa)x')).toEqual([
      'FILE_NOT_FOUND',
    ])
    expect(await namesOf(`+(a+)+(a+)+(a+)${'a'.repeat(60)}x`)).toHaveLength(1)
    expect(await namesOf(`${'**/a/'.repeat(30)}none`)).toEqual(['FILE_NOT_FOUND'])
    expect(await namesOf(`${'**/a/'.repeat(15)}**/b.jpg`)).toHaveLength(1)
  })
})

describe('bytes from pipes', () => {
  it('are read under any name, and once for all uses of standard input', async () => {
    const stdin = readFileSync(ship)
    const { code, stdout } = await residual(folder, ['classify', '-', '-', '--json'], stdin)
    expect(code).toBe(0)
    expect(JSON.parse(stdout).map(({ file }: Input & { file: string }) => file)).toEqual(['-', '-'])
    const script = `"$0" "$1" classify <(cat "$2") /dev/stdin --cam "$3" < "$2"`
    const args = [process.execPath, join(packageRoot, 'bin', 'residual.js'), ship, join(folder, 'map.png')]
    const table = execFileSync('bash', ['-c', script, ...args], { encoding: 'utf8' })
    expect(table).toMatch(/^\/dev\/fd\/\d+ .* ship \d.*\n.*map: .*\n\/dev\/stdin .* ship \d/m)
    expect(readdirSync(folder)).toHaveLength(2)
  })

  it('are named by their source when they are not an image', async () => {
    const { code, stderr } = await residual(folder, ['classify', '-'], Buffer.from('text'))
    expect(code).toBe(1)
    expect(stderr).toContain('residual: -: the image of 4 bytes cannot be decoded: it is text, not an image.')
  })
})

describe('--cam', () => {
  it('writes a separate file for each image, whatever its name', async () => {
    const inputs = ['a.jpg', 'b/a.jpg', 'a-2.jpg', 'A.png', '-', 'c/a.gif'].map(name => ({
      name,
      source: name,
    }))
    const cam = await camFiles(join('maps', 'm.png'), inputs)
    expect(inputs.map(cam)).toEqual(
      ['m-a', 'm-a-2', 'm-a-2-2', 'm-A-3', 'm-stdin', 'm-a-4'].map(name => join('maps', `${name}.png`)),
    )
  })

  it('is as fast for thousands of equal names as for others', async () => {
    const inputs = Array.from({ length: 50_000 }, (_, i) => ({
      name: `${i}/x.jpg`,
      source: new Uint8Array(),
    }))
    const cam = await camFiles('m.png', inputs)
    expect(inputs.map(cam).at(-1)).toBe('m-x-50000.png')
  })

  it('never overwrites an image, whatever its name', async () => {
    copyFileSync(ship, join(folder, 'map.png'))
    copyFileSync(ship, join(folder, 'm-map.png'))
    symlinkSync('map.png', join(folder, 'link.png'))
    linkSync(join(folder, 'map.png'), join(folder, 'hard.png'))
    for (const out of ['map.png', 'link.png', 'hard.png']) {
      const { code, stderr } = await residual(folder, ['classify', 'map.png', '--cam', out])
      expect(code).toBe(1)
      expect(stderr).toMatch(/\.png is the image itself\. Give --cam another name\. \[FILE_WRITE_FAILED\]/)
    }
    const { code } = await residual(folder, ['classify', 'map.png', 'm-map.png', '--cam', 'm.png'])
    expect(code).toBe(0)
    for (const name of ['map.png', 'm-map.png'])
      expect(readFileSync(join(folder, name)).equals(readFileSync(ship))).toBe(true)
    expect(readdirSync(folder)).toContain('m-map-2.png')
  })

  it('writes PNG only to files named .png', async () => {
    const { code, stderr } = await residual(folder, ['classify', ship, '--cam', 'map.jpg'])
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^residual: Expected a name that ends in \.png for --cam but received "map\.jpg"$/m,
    )
    expect(readdirSync(folder)).toEqual([])
  })
})

describe('output to a terminal', () => {
  const hostile = 'a\x1b[31m\nship.jpg  99 %\u009b2J'

  it('moves no cursor and forges no row: control characters in names, labels and reasons are escaped', () => {
    const lines: string[] = []
    const log = vi.spyOn(console, 'log').mockImplementation(line => lines.push(line))
    const error = vi.spyOn(console, 'error').mockImplementation(line => lines.push(line))
    const write = vi.spyOn(process.stdout, 'write').mockImplementation(text => {
      lines.push(...String(text).split('\n'))
      return true
    })
    for (const report of [tableReport([hostile], 'top 1', 'softmax', false), jsonReport('softmax')]) {
      report.success(hostile, [{ index: 0, label: hostile, probability: 1 }], 1, hostile)
      report.failure(hostile, new ResidualError('DECODE_FAILED', `${hostile} cannot be decoded.`))
      report.failure(hostile, new Error(hostile))
      report.end(true)
    }
    for (const spy of [log, error, write]) spy.mockRestore()
    expect(lines.length).toBeGreaterThan(12)
    for (const line of lines) expect(line).toMatch(harmless)
  })

  it("is safe from the command line's own words too", async () => {
    for (const args of [
      ['\x1b[31m'],
      ['classify', '--\x1b[31m'],
      ['classify', 'x', '--device', '\x1b[31m'],
    ]) {
      const { code, stderr } = await residual(folder, args)
      expect(code).toBe(1)
      expect(stderr).toContain('\\x1b[31m')
      expect(stderr).not.toContain('\x1b')
    }
  })
})

describe('Ctrl-C', () => {
  it.each([
    ['a terminal', ['--import', pathToFileURL(join(packageRoot, 'test/support/as-terminal.mjs')).href], []],
    ['a pipe', [], ['--json']],
  ])('on %s prints what was done, and leaves inputs as they were', async (kind, node, options) => {
    const images = Array<string>(3000).fill(ship)
    const args = [
      ...node,
      join(packageRoot, 'bin', 'residual.js'),
      'classify',
      ...images,
      '--batch',
      '1',
      ...options,
    ]
    const child = spawn(process.execPath, args, { cwd: folder })
    const output = { stdout: '', stderr: '' }
    const begun = new Promise<void>(resolve => {
      for (const name of ['stdout', 'stderr'] as const)
        child[name].setEncoding('utf8').on('data', text => {
          output[name] += text
          if (/\[\n.*\n|[^0-9][1-9]\d*\/3000/.test(output[name])) resolve()
        })
    })
    await begun
    child.kill('SIGINT')
    const [code] = await once(child, 'close')
    expect(code).toBe(130)
    expect(output.stderr).toMatch(/residual: stopped after \d+/)
    if (kind === 'a pipe') expect(JSON.parse(output.stdout).length).toBeGreaterThan(0)
    else {
      expect(output.stdout).toMatch(/^file .*\n.* ship \d/)
      expect(output.stderr).toContain('\x1b[?7l') // lines were not wrapped
      expect(output.stderr.lastIndexOf('\x1b[?7h')).toBeGreaterThan(output.stderr.lastIndexOf('\x1b[?7l'))
    }
  })
})
