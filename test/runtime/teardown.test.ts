import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { expect, it } from 'vitest'
import { packageRoot } from '../../lib/base/package-root.ts'
import { load } from '../../lib/index.ts'

// The package as built: a worker or a child process has no TypeScript loader.
const entry = pathToFileURL(join(packageRoot, 'dist', 'index.js')).href
const startWorker = () =>
  new Worker(new URL('../support/session-worker.mjs', import.meta.url), {
    workerData: { entry },
    execArgv: [],
  })
const firstMessage = (worker: Worker) =>
  new Promise<Float32Array>((resolve, reject) => worker.once('message', resolve).once('error', reject))

it('works in several worker threads at once, which may be terminated during a run', async () => {
  for (let round = 0; round < 5; round++) {
    const workers = [startWorker(), startWorker(), startWorker()]
    const [first, ...others] = await Promise.all(workers.map(firstMessage))
    for (const other of others) expect(other).toEqual(first)
    await new Promise(resolve => setTimeout(resolve, round * 7)) // not always at the same point of a run
    expect(await Promise.all(workers.map(worker => worker.terminate()))).toEqual([1, 1, 1])
  }
}, 120_000)

it('lets workers be terminated while they load', async () => {
  const script = `
    const { load } = await import(${JSON.stringify(entry)})
    const { parentPort } = await import('node:worker_threads')
    parentPort.postMessage('ready')
    while (true) await (await load('resnet50-cifar10', { threads: 3 })).close()
  `
  for (let round = 0; round < 12; round++) {
    const url = new URL(`data:text/javascript,${encodeURIComponent(script)}`)
    const workers = [new Worker(url, { execArgv: [] }), new Worker(url, { execArgv: [] })]
    await Promise.all(workers.map(firstMessage))
    await new Promise(resolve => setTimeout(resolve, round * 9)) // not always at the same point of loading
    expect(await Promise.all(workers.map(worker => worker.terminate()))).toEqual([1, 1])
  }
}, 120_000)

it.each(['process.exit(0)', 'undefined'])('lets a process exit while it loads: %s', async ending => {
  const script = `
    import { load } from ${JSON.stringify(entry)}
    load('resnet50-cifar10')
    setTimeout(() => ${ending}, 15)
  `
  const result = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 30_000,
  })
  expect(result).toEqual({ stdout: '', stderr: '' })
})

it.each(['process.exit(0)', 'undefined'])('lets a process exit during a run: %s', async ending => {
  const script = `
    import { load } from ${JSON.stringify(entry)}
    const classifier = await load('resnet50-cifar10')
    const run = classifier.run(new Uint8Array(32 * 64 * 64 * 3))
    setTimeout(() => ${ending}, 5)
  `
  const result = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 30_000,
  })
  expect(result).toEqual({ stdout: '', stderr: '' })
})

it('uses no CPU while idle', async () => {
  const classifier = await load('resnet50-cifar10', { threads: 4 })
  await classifier.run(new Uint8Array(64 * 64 * 3))
  await new Promise(resolve => setTimeout(resolve, 100))
  const before = process.cpuUsage()
  await new Promise(resolve => setTimeout(resolve, 1000))
  const { user, system } = process.cpuUsage(before)
  expect((user + system) / 1e6).toBeLessThan(0.5) // three spinning helpers would take one or two seconds
  await classifier.close()
})
