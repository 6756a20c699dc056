import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { serveBanner } from '../../lib/cli/serve/banner.ts'
import { readableLine } from '../../lib/server/telemetry/log-text.ts'
import { residual } from '../support/command-line.ts'
import { temporaryFolder } from '../support/files.ts'
import { spawnServer } from '../support/server.ts'

const folder = temporaryFolder()

describe('residual serve that cannot listen', () => {
  const taken = createServer()
  let port: string
  beforeAll(async () => {
    await new Promise<void>(resolve => taken.listen(0, '127.0.0.1', resolve))
    port = String((taken.address() as { port: number }).port)
  })
  afterAll(() => taken.close())

  it.each([
    [
      'a port in use',
      () => ['--port', port],
      /127\.0\.0\.1:\d+: another program is listening there\. .* --port\./,
    ],
    [
      'a port in use for gRPC',
      () => ['--port', '0', '--grpc-port', port],
      /127\.0\.0\.1:\d+: another program is listening there\. .* --grpc-port\./,
    ],
    [
      'an address of another machine',
      () => ['--port', '0', '--host', '192.0.2.1'],
      /192\.0\.2\.1:0: this machine has no such address\./,
    ],
    [
      'no address',
      () => ['--port', '0', '--host', 'no.such.host.invalid'],
      /no\.such\.host\.invalid:0: .*host/,
    ],
  ])('says so in one line and exits with 1: %s', async (_, args, message) => {
    const { code, stdout, stderr } = await residual(folder, ['serve', '--device', 'cpu', ...args()])
    expect([code, stderr.trimEnd().split('\n').length]).toEqual([1, 1])
    expect(stderr).toMatch(/^residual: The server cannot listen on .* \[LISTEN_FAILED\]\n$/)
    expect(stderr).toMatch(message)
    expect(stdout).not.toContain('listening')
  })
})

describe('residual serve', () => {
  it('announces that it is listening only once its models have loaded', async () => {
    const broken = join(folder, 'broken.safetensors')
    writeFileSync(broken, 'broken')
    const { code, stdout, stderr } = await residual(folder, ['serve', '--port', '0', '--model', broken])
    expect(code).toBe(1)
    expect(stdout).toContain('loading models for http://127.0.0.1:')
    expect(stdout).not.toContain('listening')
    expect(stderr).toMatch(/^residual: .*broken\.safetensors.* \[CHECKPOINT_INVALID\]\n$/)
    const server = await spawnServer(
      ['--threads', '1', '--grpc-port', '0'],
      {},
      packageRoot,
      'listening for gRPC',
    )
    const messages = server.lines.map(({ msg }) => String(msg)).filter(msg => !msg.startsWith('This CPU has'))
    const words = messages.map(msg => msg.split(' ').slice(0, 2).join(' '))
    expect(words).toEqual(['loading models', 'ready', 'listening on', 'listening for'])
    server.kill('SIGTERM')
    expect(await server.exit).toBe(0)
  })
})

const script = '/usr/bin/script' // of util-linux: runs a command on a terminal of its own
if (!existsSync(script)) console.log(`skipped: ${script} is not on this machine (Debian: bsdutils)`)

describe.skipIf(!existsSync(script))('residual serve on a terminal', () => {
  it('prints its address, its models and devices and how to stop it, and stops on Ctrl+C', async () => {
    const command = `exec '${process.execPath}' '${join(packageRoot, 'bin', 'residual.js')}' serve --device cpu --port 0 --threads 1`
    const child = spawn(script, ['--quiet', '--return', '--command', command, '/dev/null'])
    let shown = ''
    child.stdout.setEncoding('utf8').on('data', text => {
      shown += text
    })
    const exit = new Promise(resolve => child.on('exit', resolve))
    while (!shown.includes('Ctrl+C')) await delay(20)
    const url = /^ {2}(http:\/\/localhost:\d+\/) {2}a page to drop images on/m.exec(shown)![1]!
    expect(shown).toMatch(/^ {2}resnet50-cifar10 on the CPU \(\w+, 1 thread, fp32\)/m)
    expect((await fetch(`${url}v2/health/ready`)).status).toBe(200)
    while (!shown.includes('GET')) await delay(20)
    child.stdin.write('\x03')
    expect(await exit).toBe(0)
    expect(shown).toMatch(/^\d\d:\d\d:\d\d GET \/v2\/health\/ready 200 [\d.]+ ms\r$/m)
    expect(shown).toMatch(/\d\d:\d\d:\d\d stopping signal=SIGINT\r$/m)
    expect(shown.indexOf('listening on')).toBeLessThan(shown.indexOf('Ctrl+C'))
    expect(shown).not.toContain('{"level"')
  })
})

describe('the output on a terminal', () => {
  const cpu = { kind: 'cpu', isa: 'avx2', threads: 2, precision: 'fp32' } as const
  it('has every model and port, and warns if the server is reachable from other machines', () => {
    const gpu = { kind: 'cuda', name: 'NVIDIA L4', index: 0, precision: 'fp16' } as const
    const models = [
      { name: 'one', device: cpu },
      { name: 'two', device: gpu },
    ]
    const text = serveBanner({ url: 'http://0.0.0.0:80', grpcPort: 8001, models, hints: ['Be faster.'] })
    expect(text).toContain(
      '  one on the CPU (avx2, 2 threads, fp32)\n  two on NVIDIA L4 (GPU 0, fp16)\n  Be faster.\n',
    )
    expect(text).toContain('  http://localhost/  a page')
    expect(text).toContain('  localhost:8001  gRPC\n')
    expect(text).toContain('It listens on all addresses of this machine')
    const other = serveBanner({ url: 'http://[fe80::1]:8000', grpcPort: undefined, models: [], hints: [] })
    expect(other).toContain('http://[fe80::1]:8000/classify')
    expect(other).not.toMatch(/gRPC|all addresses/)
  })

  it('is one line per log entry, with control characters escaped', () => {
    const line = (entry: object) =>
      readableLine(JSON.stringify({ level: 30, time: 0, pid: 1, ...entry })).slice(9)
    const facts = { method: 'POST', path: '/classify', status: 200, ms: 12.34, decodeMs: 1.23456 }
    expect(line({ msg: 'request', ...facts })).toBe('POST /classify 200 12.34 ms decodeMs=1.2\n')
    expect(line({ level: 50, msg: 'lost', err: { message: 'no \x1b[2J\nroom\x9b' } })).toBe(
      'ERROR lost no \\x1b[2J\\x0aroom\\x9b\n',
    )
    expect(line({ level: 40, msg: 'slow', model: 'm' })).toBe('WARNING slow model=m\n')
  })
})
