// A server under thousands of clients that hold connections and never finish a request, `npm run test:slow -- [clients]`: within
// the limits others are served throughout; beyond them, as soon as the slow ones have been cut off.
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { ask, spawnServer } from '../support/server.ts'

const [clients = 10_000] = process.argv.slice(2).map(Number)
const lastStraw = 100 // connections that the limit leaves for others

const server = await spawnServer(['--max-connections', String(clients + lastStraw)])
const { hostname, port } = new URL(server.url)
let open = 0
let cut = 0
const sockets: Socket[] = []
for (let i = 0; i < clients; i++) {
  const socket = connect(Number(port), hostname, () => {
    open++
    // Some say nothing, some half a header, some half a body.
    if (i % 3 === 1) socket.write('GET /v2 HTTP/1.1\r\nX-Slow: ')
    if (i % 3 === 2) socket.write('POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf')
  })
  socket.on('error', () => {}).on('close', () => cut++)
  socket.resume()
  sockets.push(socket)
  // The system drops silent connections that nobody has taken yet, and their clients never hear of it.
  if (i % 200 === 199) {
    while (open <= i) await delay(5)
    await ask(`${server.url}/v2/health/live`) // taken after them
  }
}
while (open < clients) await delay(50)
console.log(`${open} slow clients are connected`)

const waits: number[] = []
const begin = performance.now()
while (cut < clients && performance.now() - begin < 120_000) {
  const asked = performance.now()
  const { status } = await ask(`${server.url}/v2/health/ready`)
  if (status !== 200) throw new Error(`status ${status}`)
  waits.push(performance.now() - asked)
  await delay(100)
}
const seconds = (performance.now() - begin) / 1000
const cutInTime = cut
const text = (await ask(`${server.url}/metrics`)).json as string
const rss = Number(/^process_resident_memory_bytes (\S+)$/m.exec(text)?.[1]) / 2 ** 20
for (const socket of sockets) socket.destroy()
server.kill('SIGTERM')
const code = await server.exit
console.log(`${cutInTime} of ${clients} were cut off after ${seconds.toFixed(0)} s`)
console.log(
  `${waits.length} others were answered in the meantime, the slowest in ${Math.max(...waits).toFixed(0)} ms; ${rss.toFixed(0)} MiB; exit code ${code}`,
)
process.exitCode = cutInTime === clients && code === 0 ? 0 : 1
