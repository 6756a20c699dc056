// One load, for `npm run bench:memory`: prints the most memory the process held before it and at its end. The arguments are the
// model's file, whether to be exact, and the threads.
import { load } from '../classifier.ts'
import { peakBytes } from './peak-bytes.ts'

const [file, exact, threads] = process.argv.slice(2) as [string, string, string]
const before = peakBytes()
const classifier = await load(file, { device: 'cpu', exact: exact === 'true', threads: Number(threads) })
const peak = peakBytes()
console.log(JSON.stringify({ before, peak }))
await classifier.close()
