// One load of bench/serve.ts at a fixed rate, in a process of its own. Requests start at fixed times whatever became of earlier
// ones, and each one's latency counts from when it was due, even if this process was late or all connections were busy. A server
// that stalls therefore pays for everyone who would have come in the meantime.
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'

const { url, rate, connections, seconds, headers, body: file } = JSON.parse(process.argv[2])
const body = readFileSync(file)
const { origin, pathname: path } = new URL(url)
const pool = new Pool(origin, { connections, pipelining: 1 })

const warmUpSeconds = 1 // in which connections are made and this process is compiled: sent, but not counted

const latencies = []
let [failed, worstLate] = [0, 0]
async function one(due) {
  const counts = due >= counted
  if (counts) worstLate = Math.max(worstLate, performance.now() - due)
  try {
    const { statusCode, body: answer } = await pool.request({ path, method: 'POST', headers, body })
    await answer.dump()
    if (statusCode !== 200) failed++
  } catch {
    failed++
  }
  if (counts) latencies.push(performance.now() - due)
}

const before = process.cpuUsage()
const total = Math.max(1, Math.round(rate * (warmUpSeconds + seconds)))
const begin = performance.now() + 50
const counted = begin + warmUpSeconds * 1000
const requests = []
while (requests.length < total) {
  const due = begin + (requests.length * 1000) / rate
  const early = due - performance.now()
  if (early > 0) await delay(Math.max(1, Math.floor(early)))
  else requests.push(one(due))
}
await Promise.all(requests)
const { user, system } = process.cpuUsage(before)
await pool.close()
console.log(
  JSON.stringify({
    answered: total - failed,
    failed,
    seconds: (performance.now() - begin) / 1000,
    cpuSeconds: (user + system) / 1e6,
    latencies,
    worstLateMs: worstLate,
  }),
)
