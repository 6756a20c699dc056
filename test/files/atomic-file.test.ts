import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeEach, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { writeAtomically } from '../../lib/files/atomic-file.ts'
import { temporaryFolder } from '../support/files.ts'

const root = temporaryFolder()
let folder: string
let count = 0
beforeEach(() => {
  folder = join(root, `${count++}`)
  mkdirSync(folder)
})

const write = (path: string, text = 'new') => writeAtomically(path, handle => handle.writeFile(text))
const failure = (writing: Promise<void>) =>
  writing.then(
    () => undefined,
    error => error,
  )

describe('writing a file as a whole', () => {
  it('writes what a link leads to, and leaves the link', async () => {
    mkdirSync(join(folder, 'data'))
    writeFileSync(join(folder, 'data', 'model'), 'old')
    symlinkSync('model', join(folder, 'data', 'second'))
    symlinkSync(join('data', 'second'), join(folder, 'first'))
    await write(join(folder, 'first'))
    expect(readFileSync(join(folder, 'data', 'model'), 'utf8')).toBe('new')
    expect(readlinkSync(join(folder, 'first'))).toBe(join('data', 'second'))
    expect(readdirSync(folder).sort()).toEqual(['data', 'first'])
    expect(readdirSync(join(folder, 'data')).sort()).toEqual(['model', 'second'])
  })

  it('writes where a link leads to that leads to no file yet', async () => {
    mkdirSync(join(folder, 'data'))
    symlinkSync('data', join(folder, 'linked'))
    symlinkSync('../data/model', join(folder, 'data', 'first'))
    await write(join(folder, 'linked', 'first'))
    expect(readFileSync(join(folder, 'data', 'model'), 'utf8')).toBe('new')
    expect(lstatSync(join(folder, 'data', 'first')).isSymbolicLink()).toBe(true)
  })

  it('refuses links in a circle', async () => {
    symlinkSync('b', join(folder, 'a'))
    symlinkSync('a', join(folder, 'b'))
    expect(await failure(write(join(folder, 'a')))).toMatchObject({ code: 'FILE_WRITE_FAILED' })
  })

  it('keeps the permissions of the file it replaces', async () => {
    const path = join(folder, 'secret')
    writeFileSync(path, 'old')
    for (const mode of [0o600, 0o664]) {
      chmodSync(path, mode)
      await write(path)
      expect(statSync(path).mode & 0o777).toBe(mode)
    }
  })

  it('refuses to put a file in the place of a folder, a pipe or a device', async () => {
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    symlinkSync(pipe, join(folder, 'link'))
    for (const path of [pipe, join(folder, 'link'), folder])
      expect(await failure(write(path))).toMatchObject({
        code: 'FILE_WRITE_FAILED',
        message: expect.stringContaining(`${path} could not be written: it is `),
      })
    expect(statSync(pipe).isFIFO()).toBe(true)
    expect(readdirSync(folder).sort()).toEqual(['link', 'pipe'])
  })

  it('takes a name that is as long as one can be', async () => {
    const path = join(folder, 'x'.repeat(255))
    await write(path)
    expect(readdirSync(folder)).toEqual(['x'.repeat(255)])
  })

  it('tells what the system refused as such, and what the writer throws as it is', async () => {
    const missing = await failure(write(join(folder, 'no', 'such', 'file')))
    expect(missing).toMatchObject({ code: 'FILE_WRITE_FAILED', message: expect.stringContaining('ENOENT') })
    const own = new Error('of its own')
    const path = join(folder, 'file')
    const writing = writeAtomically(path, async handle => {
      await handle.writeFile('half')
      throw own
    })
    expect(await failure(writing)).toBe(own)
    expect(readdirSync(folder)).toEqual([])
  })

  it('leaves a file behind when its process is killed, which the next one removes an hour later', async () => {
    const path = join(folder, 'model')
    const script = `
      const { writeAtomically } = await import(${JSON.stringify(pathToFileURL(join(packageRoot, 'lib/files/atomic-file.ts')).href)})
      await writeAtomically(${JSON.stringify(path)}, async handle => {
        await handle.writeFile('half')
        process.stdout.write('writing')
        await new Promise(() => setInterval(() => {}, 1000))
      })`
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: packageRoot,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'close')
    const [left] = readdirSync(folder)
    expect(left).toMatch(/^\.residual-[0-9a-f]{12}\.tmp$/)

    const others = join(folder, '.residual-notes.tmp')
    const plan = join(folder, '0123456789abcdef.plan.123.4.tmp') // as native/cuda/plan_cache.cc calls them
    const young = join(folder, '.residual-0123456789ab.tmp')
    for (const file of [others, plan, young]) writeFileSync(file, '')
    const before = new Date(Date.now() - 3_700_000)
    for (const file of [join(folder, left!), others, plan]) utimesSync(file, before, before)
    await write(path)
    expect(readFileSync(path, 'utf8')).toBe('new')
    expect(readdirSync(folder).sort()).toEqual(['.residual-0123456789ab.tmp', '.residual-notes.tmp', 'model'])
    expect(existsSync(young)).toBe(true)
  })
})
