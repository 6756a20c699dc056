// Measure a model of your own: median time of a batch, and the operations that take most of it.
//
//   node examples/benchmark.mjs [MODEL] [BATCH]
//
// `residual bench --model FILE` does it thoroughly: in turn with onnxruntime-node, with load time, memory and the machine's peak.
import { formatPlan, load, planCost } from 'residual'

const [model = 'resnet50-cifar10', batch = '8'] = process.argv.slice(2)
const count = Number(batch)

const classifier = await load(model, { device: 'cpu', maxBatch: count })
const { plan } = classifier.session
const image = await classifier.prepare('samples/ship.jpg')
const pixels = Buffer.concat(Array(count).fill(image.pixels)) // [N,H,W,3]

await classifier.run(pixels) // the first run touches memory for the first time
const times = []
for (let i = 0; i < 20; i++) {
  const begin = performance.now()
  await classifier.run(pixels)
  times.push(performance.now() - begin)
}
times.sort((a, b) => a - b)
const median = times[times.length >> 1]
const gflops = (planCost(plan).flops * count) / median / 1e6
console.log(
  `${model}, batch ${count}: ${median.toFixed(1)} ms, ${((1000 * count) / median).toFixed(0)} images/s, ${gflops.toFixed(0)} GFLOP/s`,
)

const ops = await classifier.session.profile(pixels, { runs: 5 })
const slowest = [...ops].sort((a, b) => b.milliseconds - a.milliseconds).slice(0, 3)
for (const { name, kind, milliseconds } of slowest)
  console.log(`  ${milliseconds.toFixed(2)} ms  ${kind} ${name}`)
if (process.argv.includes('--plan')) console.log(formatPlan(plan))
await classifier.close()
