import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { residual } from '../support/command-line.ts'
import { breakAfter, type FileServer, fileServer, sha256 } from '../support/file-server.ts'

let folder: string
let server: FileServer
let bytes: Buffer
const environment = { ...process.env }
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'residual-pull-cli-'))
  bytes = await readFile(join(packageRoot, 'models', 'resnet50-cifar10.safetensors'))
  server = await fileServer(() => bytes)
  for (const key of Object.keys(process.env)) if (/_proxy$|^HF_/i.test(key)) delete process.env[key]
  process.env.RESIDUAL_CACHE = folder
  process.env.HF_ENDPOINT = server.url
})
afterAll(async () => {
  process.env = environment
  await server.close()
  await rm(folder, { recursive: true })
})

describe('residual pull', () => {
  it('stops at Ctrl-C and resumes; then the model can be used by name', async () => {
    server.next.push(breakAfter(bytes, 1_000_000, 'stall'))
    const command = [join(packageRoot, 'bin', 'residual.js'), 'pull', 'somebody/cifar']
    const child = spawn(process.execPath, command, { stdio: ['ignore', 'ignore', 'pipe'] })
    let stderr = ''
    for await (const text of child.stderr.setEncoding('utf8')) {
      stderr += text
      if (!child.killed && /(0\.9|1\.0) of 2\.9 MiB/.test(stderr)) child.kill('SIGINT')
    }
    if (child.exitCode === null) await once(child, 'exit')
    expect(child.exitCode).toBe(130)
    expect(stderr).toContain('the same command resumes it')

    const { code, stdout } = await residual(folder, ['pull', 'somebody/cifar'])
    const path = join(folder, 'models', 'somebody--cifar.safetensors')
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${path}\n` })
    expect(Number(/^bytes=(\d+)-$/.exec(server.requests[1]!.headers.range ?? '')?.[1])).toBeGreaterThan(
      800_000,
    )
    expect(await readdir(join(folder, 'models'))).toHaveLength(2)

    const ship = join(packageRoot, 'samples', 'ship.jpg')
    const result = await residual(folder, ['classify', '--model', 'somebody/cifar', '--top-k', '1', ship])
    expect(result.code).toBe(0)
    expect(result.stdout).toContain('class ')
  })

  it('prints JSON, and the code of an error', async () => {
    const good = await residual(folder, [
      'pull',
      '--json',
      'somebody/json',
      'x.safetensors',
      '--sha256',
      sha256(bytes),
    ])
    expect(JSON.parse(good.stdout)).toMatchObject({
      name: 'somebody/json',
      sha256: sha256(bytes),
      bytes: bytes.length,
    })
    const bad = await residual(folder, ['pull', 'resnet50.tv_in1k', '--offline'])
    expect({ code: bad.code, stdout: bad.stdout }).toEqual({ code: 1, stdout: '' })
    expect(bad.stderr).toMatch(/\[OFFLINE\]\n$/)
    expect((await residual(folder, ['pull'])).code).toBe(1)
  })

  it('lists what is available', async () => {
    const { stdout } = await residual(folder, ['pull', '--list'])
    expect(stdout).toMatch(/^name +layers +top-1 +size +licence +SHA-256 +here$/m)
    expect(stdout).toMatch(/^resnet50\.tv_in1k +50 +76\.1 % +102 MB +BSD-3-Clause +whole$/m)
    expect(stdout).toMatch(/^resnet50-0676ba61 +50 +76\.1 % +97\.781 MiB +BSD-3-Clause +8 digits$/m)
    const listed = JSON.parse((await residual(folder, ['pull', '--list', '--json'])).stdout)
    expect(listed[0]).toMatchObject({ name: 'resnet18.tv_in1k', layers: 18, pinned: 'whole' })
  })
})
