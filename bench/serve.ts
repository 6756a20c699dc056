// What does serving cost? The server's throughput next to `session.run`'s at the same batch, its latency at half load, and
// how long its event loop is held up. Load comes from autocannon, in a process of its own on the same machine.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { load } from '../lib/index.ts'
import { alignColumns } from '../lib/model/format-plan.ts'
import { median, quartiles, quartilesText } from '../lib/statistics.ts'
import {
  ask,
  binaryRequest,
  modelName,
  pictureBytes,
  pictureShape,
  type ServerProcess,
  spawnServer,
} from '../test/support/server.ts'

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

const spreadText = (values: readonly number[], digits: number) => quartilesText(quartiles(values), digits)

/** What autocannon prints; milliseconds. */
interface Load {
  readonly requests: { readonly average: number }
  readonly latency: { readonly p50: number; readonly p99: number }
  readonly errors: number
  readonly non2xx: number
}

const child = new URL('serve-load.mjs', import.meta.url).pathname
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
  const url = `${server.url}/v2/models/${modelName}/infer`
  const load = {
    url,
    connections,
    duration: seconds,
    headers,
    body: file,
    ...(rate && { overallRate: rate }),
  }
  const { stdout } = await promisify(execFile)(process.execPath, [child, JSON.stringify(load)])
  const result: Load = JSON.parse(stdout)
  if (result.errors + result.non2xx > 0)
    throw new Error(`${result.errors} errors, ${result.non2xx} answers that are none`)
  return result
}

interface Watched {
  /** Milliseconds, since it was last looked at: 99 of 100 turns took at most so long, the timer's own 10 ms taken off. */
  readonly eventLoopMs: number
  /** Of the server's process, until now. */
  readonly cpuSeconds: number
  readonly pictures: number
}

async function watch(server: ServerProcess): Promise<Watched> {
  const text = (await ask(`${server.url}/metrics`)).json as string
  const metric = (name: string) =>
    Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? 0)
  return {
    eventLoopMs: metric('nodejs_eventloop_lag_p99_seconds') * 1000 - 10,
    cpuSeconds: metric('process_cpu_seconds_total'),
    pictures: metric('residual_pictures_total'),
  }
}

/** What a load did to the server. CPU time per picture says what serving costs even where others use the machine. */
interface Served {
  readonly load: Load
  readonly cpuMs: number
  readonly eventLoopMs: number
}

async function watched(server: ServerProcess, load: () => Promise<Load>): Promise<Served> {
  const before = await watch(server)
  const result = await load()
  const after = await watch(server)
  const cpuMs = (1000 * (after.cpuSeconds - before.cpuSeconds)) / (after.pictures - before.pictures)
  return { load: result, cpuMs, eventLoopMs: after.eventLoopMs }
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
    const [cpu, begin] = [process.cpuUsage(), performance.now()]
    let pictures = 0
    for (; performance.now() < begin + seconds * 1000; pictures += batch)
      await classifier.run(pixels, { outputs: ['logits'] })
    const { user, system } = process.cpuUsage(cpu)
    return {
      rate: (pictures * 1000) / (performance.now() - begin),
      cpuMs: (user + system) / 1000 / pictures,
    }
  }
  await direct() // warm
  const runs: { direct: Awaited<ReturnType<typeof direct>>; whole: Served; single: Served }[] = []
  for (let i = 0; i < rounds; i++) {
    const alone = await direct()
    const whole = await watched(server, () => loadWith(server, batch, 4))
    const single = await watched(server, () => loadWith(server, 1, 4 * batch))
    runs.push({ direct: alone, whole, single })
  }
  await classifier.close()
  const half = Math.max(1, Math.floor(median(runs.map(({ single }) => single.load.requests.average)) / 2))
  const relaxed: Served[] = []
  for (let i = 0; i < rounds; i++) relaxed.push(await watched(server, () => loadWith(server, 1, batch, half)))

  const line = (what: string, rates: number[], cpu: number[]) => {
    const ratios = rates.map((rate, i) => rate / runs[i]!.direct.rate)
    const costs = cpu.map((ms, i) => runs[i]!.direct.cpuMs / ms)
    return [what, spreadText(rates, 0), spreadText(ratios, 2), spreadText(cpu, 2), spreadText(costs, 2)]
  }
  const served = (what: string, name: 'whole' | 'single', pictures: number) =>
    line(
      what,
      runs.map(run => run[name].load.requests.average * pictures),
      runs.map(run => run[name].cpuMs),
    )
  const table = [
    ['', 'images/s', 'of direct', 'CPU ms per image', 'direct over it'],
    line(
      `session.run, batch ${batch}, ${threads} threads`,
      runs.map(run => run.direct.rate),
      runs.map(run => run.direct.cpuMs),
    ),
    served(`server, requests of ${batch}`, 'whole', batch),
    served('server, requests of 1', 'single', 1),
  ]
  console.log(alignColumns(table).join('\n'))
  const delays = (all: readonly Served[]) =>
    spreadText(
      all.map(({ eventLoopMs }) => eventLoopMs),
      1,
    )
  console.log(
    `event loop, p99, saturated: ${delays(runs.flatMap(({ whole, single }) => [whole, single]))} ms`,
  )
  const latency = (name: 'p50' | 'p99') =>
    spreadText(
      relaxed.map(({ load }) => load.latency[name]),
      0,
    )
  console.log(
    `${half} requests/s of 1: median ${latency('p50')} ms, p99 ${latency('p99')} ms; event loop p99 ${delays(relaxed)} ms`,
  )
} finally {
  server.kill('SIGTERM')
  await server.exit
  await rm(folder, { recursive: true })
}
