// One load of bench/serve.ts as fast as it goes, by autocannon, in a process of its own. autocannon's command line would read a
// binary body as text. Its rates are no use for latency: it sends everything due in a second at the start of that second.
import { readFileSync } from 'node:fs'
import autocannon from 'autocannon'

const { url, connections, seconds, headers, body } = JSON.parse(process.argv[2])
const before = process.cpuUsage()
const result = await autocannon({
  url,
  connections,
  duration: seconds,
  headers,
  method: 'POST',
  body: readFileSync(body),
})
const { user, system } = process.cpuUsage(before)
console.log(
  JSON.stringify({
    answered: result['2xx'],
    failed: result.errors + result.non2xx,
    seconds: result.duration,
    cpuSeconds: (user + system) / 1e6,
  }),
)
