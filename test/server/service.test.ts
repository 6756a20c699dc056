import { execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { temporaryFolder } from '../support/files.ts'
import { startServer } from '../support/server.ts'

const docs = readFileSync(join(packageRoot, 'docs', 'serving.md'), 'utf8')

it('the service command in docs/serving.md makes the server the process that gets the signal', async () => {
  const [, command] = /^ExecStart=\S*\/node_modules\/\.bin\/(residual) serve/m.exec(docs)!
  expect(Object.keys(JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')).bin)).toEqual([
    command,
  ])
  // What npm links to: started by its first line, as a service manager does it.
  const child = spawn(join(packageRoot, 'bin', 'residual.js'), ['serve', '--device', 'cpu', '--port', '0'])
  const pid = await new Promise(resolve => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const line = text.split('\n').find(each => each.includes('"listening on'))
      if (line) resolve(JSON.parse(line).pid)
    })
  })
  expect(pid).toBe(child.pid)
  child.kill('SIGTERM')
  expect(await new Promise(resolve => child.on('exit', code => resolve(code)))).toBe(0)
})

const curl = ['/usr/bin/curl', '/usr/local/bin/curl', '/opt/homebrew/bin/curl'].find(existsSync)
if (!curl) console.log('skipped: there is no curl on this machine')

it.skipIf(!curl)('the curl command in docs/serving.md sends photographs of any size', async () => {
  const [, command] = /```sh\n(# Through a pipe.*?)```/s.exec(docs)!
  const photograph = join(temporaryFolder(), 'photograph.jpg')
  const noise = { create: { width: 2000, height: 1500, channels: 3, background: 'teal' } } as const
  const gaussian = { noise: { type: 'gaussian', mean: 128, sigma: 60 } } as const
  const image = sharp({ create: { ...noise.create, ...gaussian } }).jpeg({ quality: 90 })
  writeFileSync(photograph, await image.toBuffer())
  expect(readFileSync(photograph).length).toBeGreaterThan(2 ** 20) // Linux takes arguments of 128 KiB
  const server = await startServer({ threads: 1 })
  const { host } = new URL(server.url)
  const here = command!.replaceAll('localhost:8000', host).replaceAll('samples/frog.jpg', photograph)
  const { stdout } = await promisify(execFile)('bash', ['-c', here], { cwd: packageRoot })
  await server.stop()
  const { id, outputs } = JSON.parse(stdout)
  expect([id, outputs[0].name, outputs[0].shape]).toEqual(['1', 'probabilities', [1, 3]])
})
