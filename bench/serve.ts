// The cost of serving: the server's throughput next to that of `session.run` at the same batch and thread count, its latency at
// half load, and how long its event loop is held up. Each load runs in a process of its own on the same machine.
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { median, quantile, quartiles, quartilesText } from '../lib/base/statistics.ts'
import { fmaPeak } from '../lib/benchmark/measure.ts'
import { load } from '../lib/index.ts'
import { alignColumns } from '../lib/model/format-plan.ts'
import { imageBytes, modelName, spawnServer } from '../test/support/server.ts'
import { type Direct, LoadGenerator, type Pair, type Served, serveNoise } from './serve-parts.ts'

const { values: options } = parseArgs({
  options: {
    batch: { type: 'string', default: '32' },
    threads: { type: 'string', default: String(Math.max(1, availableParallelism() - 1)) },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '5' },
  },
})
const { threads: threadsText, batch: batchText } = options
const [batch, threads, seconds, rounds] = [batchText, threadsText, options.seconds, options.rounds].map(
  Number,
) as [number, number, number, number]

/** Connections that keep the server busy: two batches wait while one runs. */
const kinds = [
  { images: batch, connections: 4 },
  { images: 1, connections: 4 * batch },
] as const
const spread = (values: readonly number[], digits: number) => quartilesText(quartiles(values), digits)

const server = await spawnServer(['--threads', threadsText, '--max-batch', batchText, '--log-level', 'info'])
const classifier = await load(modelName, { device: 'cpu', threads, maxBatch: batch })
const generator = await LoadGenerator.open(server)

async function direct(): Promise<Direct> {
  const pixels = new Uint8Array(batch * imageBytes)
  const [cpu, begin] = [process.cpuUsage(), performance.now()]
  let images = 0
  for (; performance.now() < begin + seconds * 1000; images += batch)
    await classifier.run(pixels, { outputs: ['logits'] })
  const { user, system } = process.cpuUsage(cpu)
  return { rate: (images * 1000) / (performance.now() - begin), cpuMs: (user + system) / 1000 / images }
}

try {
  const { device } = classifier.session
  const isa = device.kind === 'cpu' ? device.isa : ''
  const pairs: Pair[][] = kinds.map(() => [])
  const relaxed: Served[][] = kinds.map(() => [])
  const before = await fmaPeak(isa, { threads, precision: 'fp32' })
  for (let round = -1; round < rounds; round++)
    for (const [i, { images, connections }] of kinds.entries()) {
      const alone = await direct()
      const served = await generator.saturate(images, connections, seconds)
      if (round >= 0) pairs[i]!.push({ direct: alone, served }) // the first is to warm up
    }
  const halves = pairs.map(all => median(all.map(({ served }) => served.requestsPerSecond)) / 2)
  for (let round = 0; round < rounds; round++)
    for (const [i, { images }] of kinds.entries())
      relaxed[i]!.push(await generator.pace(images, halves[i]!, seconds))
  const peak = { before, after: await fmaPeak(isa, { threads, precision: 'fp32' }) }

  const all = pairs.flat()
  const directRow = [
    `session.run, batch ${batch}, threads: ${threads}`,
    spread(
      all.map(pair => pair.direct.rate),
      0,
    ),
    '',
    spread(
      all.map(pair => pair.direct.cpuMs),
      2,
    ),
    '',
    '',
  ]
  const rows = kinds.map(({ images, connections }, i) => {
    const column = (of: (pair: Pair) => number, digits: number) => spread(pairs[i]!.map(of), digits)
    return [
      `server, requests of ${images}, ${connections} connections`,
      column(({ served }) => served.imagesPerSecond, 0),
      column(({ served, direct }) => served.imagesPerSecond / direct.rate, 2),
      column(({ served }) => served.cpuMs, 2),
      column(({ served }) => served.loadCpuMs, 2),
      column(({ served }) => served.eventLoopMs, 1),
    ]
  })
  const head = ['', 'images/s', 'of direct', 'CPU ms per image', 'and of the load', 'event loop p99 ms']
  console.log(alignColumns([head, directRow, ...rows]).join('\n'))
  console.log(
    '\nAt half that throughput and a constant rate, latencies counted from when each request was due:',
  )
  for (const [i, { images }] of kinds.entries()) {
    const runs = relaxed[i]!
    const of = (share: number) => runs.map(({ latencies }) => quantile(latencies, share))
    const ratios = runs.map(({ latencies }) => quantile(latencies, 0.99) / quantile(latencies, 0.5))
    const loop = spread(
      runs.map(({ eventLoopMs }) => eventLoopMs),
      1,
    )
    console.log(
      `${halves[i]!.toFixed(0)} requests/s of ${images}: median ${spread(of(0.5), 1)} ms, p99 ${spread(of(0.99), 1)} ms, ` +
        `p99 over median ${spread(ratios, 2)}; event loop p99 ${loop} ms`,
    )
  }
  const everything = [...all.map(({ served }) => served), ...relaxed.flat()]
  const worst = Math.max(...everything.map(({ longestTurnMs }) => longestTurnMs))
  const idle = median(everything.map(({ idleLoopMs }) => idleLoopMs))
  console.log(
    `Longest delay of the event loop: ${worst.toFixed(0)} ms. Delays exclude the monitor's own 10 ms; an idle process ` +
      `had ${idle.toFixed(1)} ms at p99.`,
  )
  const cases = kinds.map(({ images }, i) => ({ name: `requests of ${images}`, pairs: pairs[i]! }))
  for (const reason of serveNoise(peak, cases, relaxed.flat())) console.log(`NOISY: ${reason}`)
} finally {
  await classifier.close()
  await generator.close()
  server.kill('SIGTERM')
  await server.exit
}
