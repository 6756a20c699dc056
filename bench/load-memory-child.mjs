// One load, for load-memory.ts: prints the most memory the process held before it and at its end, in bytes. The arguments are the
// model's file, whether to be exact, and the threads. It runs the built package, which takes less memory than tsx.
import { readFileSync } from 'node:fs'
import { load } from '../dist/index.js'

/** getrusage's maxrss would not do: a process inherits it from the one that started it. */
const peakBytes = () => Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024

const [file, exact, threads] = process.argv.slice(2)
const before = peakBytes()
const classifier = await load(file, { device: 'cpu', exact: exact === 'true', threads: Number(threads) })
const peak = peakBytes()
console.log(JSON.stringify({ before, peak }))
await classifier.close()
