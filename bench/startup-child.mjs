// One start for startup.ts: opens a model file, runs one batch, prints what that took as its `Start`.
import { readFileSync } from 'node:fs'

const [, , engine, file, batchText, threadsText, sizeText] = process.argv
const [batch, threads, size] = [batchText, threadsText, sizeText].map(Number)

// Linux only. getrusage's maxrss would not do: a process inherits it from the one that started it.
const peak = () => Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
const input = new Float32Array(batch * size * size * 3).fill(0.5)
const before = peak()
const begin = performance.now()
let logits
if (engine === 'residual') {
  const { load } = await import('../dist/index.js')
  const classifier = await load(file, { device: 'cpu', threads })
  logits = (await classifier.run(input, { outputs: ['logits'] })).logits
} else {
  const { InferenceSession, Tensor } = await import('onnxruntime-node')
  const session = await InferenceSession.create(file, { intraOpNumThreads: threads, logSeverityLevel: 3 })
  const tensor = new Tensor('float32', input, [batch, 3, size, size])
  logits = (await session.run({ x: tensor }, ['logits'])).logits.data
}
const milliseconds = performance.now() - begin
if (logits.length !== batch * 1000) throw new Error(`${logits.length} logits`)
console.log(JSON.stringify({ milliseconds, peakBytes: peak() - before }))
process.exit(0) // without waiting for anyone's threads
