// A single cold start, run by start.ts: opens a model file, runs one batch, prints its `Start` as JSON. The arguments are
// `residual` or the path of onnxruntime-node, the model's file, `N,H,W,C`, the thread count, and the precision.
import { createRequire } from 'node:module'
import type { BenchPrecision } from './engine.ts'
import type { OnnxRuntime } from './onnxruntime.ts'
import { peakBytes } from './peak-bytes.ts'

const [engine, file, dimsText, threadsText, precision] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  BenchPrecision,
]
const [n, h, w, c] = dimsText.split(',').map(Number) as [number, number, number, number]
const threads = Number(threadsText)

async function residualLogits(input: Float32Array): Promise<ArrayLike<number>> {
  const { load } = await import('../classifier.ts')
  const classifier = await load(file, { device: 'cpu', threads, precision })
  return (await classifier.run(input, { outputs: ['logits'] })).logits
}

async function onnxRuntimeLogits(input: Float32Array): Promise<ArrayLike<number>> {
  const { InferenceSession, Tensor } = createRequire(import.meta.url)(engine) as OnnxRuntime
  const session = await InferenceSession.create(file, { intraOpNumThreads: threads, logSeverityLevel: 3 })
  const { logits } = await session.run({ x: new Tensor('float32', input, [n, c, h, w]) }, ['logits'])
  return logits!.data as Float32Array
}

const input = new Float32Array(n * h * w * c).fill(0.5)
const before = peakBytes()
const begin = performance.now()
const logits = await (engine === 'residual' ? residualLogits(input) : onnxRuntimeLogits(input))
const milliseconds = performance.now() - begin
const after = peakBytes()
console.log(
  JSON.stringify({
    milliseconds,
    peakBytes: before === null || after === null ? null : after - before,
    logits: logits.length,
  }),
)
process.exit(0) // without waiting for the engine's threads
