// The soak test, `npm run test:soak -- [requests] [connections]`: the server stays right and its memory flat. Every answer is
// compared to the bit, the server's memory and event loop are watched, and the exit code tells.
import { load } from '../../lib/index.ts'
import { ask, modelName, spawnServer } from '../support/server.ts'
import { soak } from '../support/soak.ts'

const [requests = 10_000, connections = 64] = process.argv.slice(2).map(Number)
const fewestToBeFlat = 2000 // requests: of fewer the memory says nothing yet
const flatWithin = 1.15 // the last quarter's memory over the second's: the first fills pools and caches

const server = await spawnServer(['--log-level', 'info'])
const classifier = await load(modelName, { device: 'cpu', threads: 1 })
const samples: { readonly answered: number; readonly rssMiB: number; readonly longestMs: number }[] = []

const metric = (text: string, name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
const sample = async (answered: number) => {
  const text = (await ask(`${server.url}/metrics`)).json as string
  const rssMiB = metric(text, 'process_resident_memory_bytes') / 2 ** 20
  const lagMs = metric(text, 'nodejs_eventloop_lag_p99_seconds') * 1000
  const longestMs = metric(text, 'nodejs_eventloop_lag_max_seconds') * 1000
  samples.push({ answered, rssMiB, longestMs })
  console.log(
    `${answered} answered, ${rssMiB.toFixed(0)} MiB, event loop p99 ${lagMs.toFixed(1)} ms, at most ${longestMs.toFixed(0)} ms`,
  )
}

const every = Math.ceil(requests / 20)
const begin = performance.now()
const result = await soak(server.url, classifier, {
  requests,
  connections,
  onProgress: answered => {
    if (answered % every === 0) void sample(answered)
  },
})
const seconds = (performance.now() - begin) / 1000
await classifier.close()
server.kill('SIGTERM')
const code = await server.exit

console.log(
  `\n${result.answered} requests, ${result.images} images in ${seconds.toFixed(0)} s; exit code ${code}`,
)
console.log(result.kinds)
for (const line of result.wrong.slice(0, 20)) console.log(line)
console.log(`${result.wrong.length} wrong or lost`)
const longest = Math.max(...samples.map(({ longestMs }) => longestMs))
if (result.wrong.length > 0)
  console.log(
    `the server's event loop was blocked for up to ${longest.toFixed(0)} ms, while deadlines (30 s) run on`,
  )
const mean = (from: number, to: number) => {
  const part = samples.filter(({ answered }) => answered > from * requests && answered <= to * requests)
  return part.reduce((sum, { rssMiB }) => sum + rssMiB, 0) / part.length
}
const [second, last] = [mean(0.25, 0.5), mean(0.75, 1)]
console.log(`memory: ${second.toFixed(0)} MiB in the second quarter, ${last.toFixed(0)} MiB in the last`)
const isFlat = requests < fewestToBeFlat || last < second * flatWithin
process.exitCode = result.wrong.length === 0 && code === 0 && isFlat ? 0 : 1
