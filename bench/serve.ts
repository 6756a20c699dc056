// What does serving cost? The server's throughput next to `session.run`'s at the same batch, its latency at half load, and
// how long its event loop is held up. Load comes from autocannon, in a process of its own on the same machine.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { load } from '../lib/index.ts'
import {
  ask,
  binaryRequest,
  modelName,
  pictureBytes,
  pictureShape,
  type ServerProcess,
  spawnServer,
} from '../test/support/server.ts'
import { median, spread } from './statistics.ts'

const { values: options } = parseArgs({
  options: {
    batch: { type: 'string', default: '32' },
    threads: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '5' },
  },
})
const [batch, seconds, rounds] = [options.batch, options.seconds, options.rounds].map(Number) as [
  number,
  number,
  number,
]

/** What autocannon prints; milliseconds. */
interface Load {
  readonly requests: { readonly average: number }
  readonly latency: { readonly p50: number; readonly p99: number }
  readonly errors: number
  readonly non2xx: number
}

const autocannon = createRequire(import.meta.url).resolve('autocannon')
const folder = await mkdtemp(join(tmpdir(), 'residual-bench-'))

/** Requests of `pictures` each, as pixels in binary, from so many connections; at `rate` per second, or as fast as it goes. */
async function loadWith(
  server: ServerProcess,
  pictures: number,
  connections: number,
  rate?: number,
): Promise<Load> {
  const input = { name: 'pixels', datatype: 'UINT8', shape: [pictures, ...pictureShape] }
  const output = { name: 'logits', parameters: { binary_data: true } }
  const pixels = Uint8Array.from({ length: pictures * pictureBytes }, (_, i) => (i * 37) % 251)
  const { body, headers } = binaryRequest({ inputs: [input], outputs: [output] }, pixels)
  const file = join(folder, `body-${pictures}`)
  await writeFile(file, body)
  const args = ['-c', connections, '-d', seconds, '-m', 'POST', '-i', file, '-j']
  for (const [name, value] of Object.entries(headers)) args.push('-H', `${name}: ${value}`)
  if (rate !== undefined) args.push('-R', rate)
  const url = `${server.url}/v2/models/${modelName}/infer`
  const { stdout } = await promisify(execFile)(process.execPath, [autocannon, ...args.map(String), url])
  const result: Load = JSON.parse(stdout)
  if (result.errors + result.non2xx > 0)
    throw new Error(`${result.errors} errors, ${result.non2xx} answers that are none`)
  return result
}

/** Milliseconds, since it was last asked: 99 of 100 turns took at most so long, the timer's own 10 ms taken off. */
async function eventLoopDelay(server: ServerProcess): Promise<number> {
  const text = (await ask(`${server.url}/metrics`)).json as string
  return Number(/^nodejs_eventloop_lag_p99_seconds (\S+)$/m.exec(text)?.[1]) * 1000 - 10
}

const threads = Number(options.threads)
const server = await spawnServer([
  '--threads',
  options.threads,
  '--max-batch',
  options.batch,
  '--log-level',
  'info',
])
try {
  const classifier = await load(modelName, { device: 'cpu', threads, maxBatch: batch })
  const pixels = new Uint8Array(batch * pictureBytes)
  const direct = async () => {
    const [begin, end] = [performance.now(), performance.now() + seconds * 1000]
    let runs = 0
    for (; performance.now() < end; runs++) await classifier.run(pixels, { outputs: ['logits'] })
    return (runs * batch * 1000) / (performance.now() - begin)
  }
  await direct() // warm
  const rates: { direct: number; whole: number; single: number; delays: number[] }[] = []
  for (let i = 0; i < rounds; i++) {
    const alone = await direct()
    await eventLoopDelay(server)
    const whole = await loadWith(server, batch, 4)
    const wholeDelay = await eventLoopDelay(server)
    const single = await loadWith(server, 1, 4 * batch)
    const singleDelay = await eventLoopDelay(server)
    rates.push({
      direct: alone,
      whole: whole.requests.average * batch,
      single: single.requests.average,
      delays: [wholeDelay, singleDelay],
    })
    console.log(
      `round ${i + 1}: ${Object.values(rates.at(-1)!)
        .flat()
        .map(x => x.toFixed(1))
        .join(', ')}`,
    )
  }
  await classifier.close()
  const half = Math.max(1, Math.floor(median(rates.map(({ single }) => single)) / 2))
  const latencies: Load[] = []
  const delays: number[] = []
  for (let i = 0; i < rounds; i++) {
    await eventLoopDelay(server)
    latencies.push(await loadWith(server, 1, batch, half))
    delays.push(await eventLoopDelay(server))
  }

  const of = (name: 'direct' | 'whole' | 'single') => rates.map(rate => rate[name])
  const ratio = (name: 'whole' | 'single') => rates.map(rate => rate[name] / rate.direct)
  console.log(`\nsession.run, batch ${batch}, ${threads} threads: ${spread(of('direct'), 0)} images/s`)
  console.log(
    `server, requests of ${batch}: ${spread(of('whole'), 0)} images/s, ratio ${spread(ratio('whole'), 2)}`,
  )
  console.log(
    `server, requests of 1: ${spread(of('single'), 0)} images/s, ratio ${spread(ratio('single'), 2)}`,
  )
  console.log(
    `event loop, p99, saturated: ${spread(
      rates.flatMap(rate => rate.delays),
      1,
    )} ms`,
  )
  const percentiles = (name: 'p50' | 'p99') =>
    spread(
      latencies.map(({ latency }) => latency[name]),
      0,
    )
  console.log(
    `${half} requests/s of 1: median ${percentiles('p50')} ms, p99 ${percentiles('p99')} ms; event loop p99 ${spread(delays, 1)} ms`,
  )
} finally {
  server.kill('SIGTERM')
  await server.exit
  await rm(folder, { recursive: true })
}
