// A GPU's speed on ResNets, and how close it comes to what the GPU can do. Images per second and latency per batch and precision;
// FLOP/s and bytes/s next to ceilings measured on the same device, through the same addon: the best cuDNN does on large
// convolutions, and the best a kernel does that only reads and writes.
import { parseArgs } from 'node:util'
import { median, quantile } from '../lib/base/statistics.ts'
import { gpuBytes, precisionBytes } from '../lib/benchmark/gpu-bytes.ts'
import {
  batchNorm,
  conv,
  createSession,
  findBackends,
  type GpuPrecision,
  globalAvgPool,
  input,
  linear,
  lower,
  type Network,
  type Plan,
  parametersOf,
  planCost,
  resnet,
  type Session,
} from '../lib/index.ts'
import { alignColumns } from '../lib/model/format-plan.ts'
import { initialise } from '../lib/weights/init.ts'

const { values: options } = parseArgs({
  options: {
    layers: { type: 'string', default: '50' },
    size: { type: 'string', default: '224' },
    batch: { type: 'string', default: '1,8,32,128' },
    precision: { type: 'string', default: 'fp16,bf16,tf32' },
    seconds: { type: 'string', default: '3' }, // per row
    autotune: { type: 'boolean', default: false },
    device: { type: 'string', default: '0' },
  },
})
const cuda = (await findBackends()).find(backend => backend.name === 'cuda')!
if (!cuda.available) {
  console.log(`residual: skipped, there is no GPU to measure. ${cuda.details}`)
  process.exit(0)
}
const numbers = (text: string) => text.split(',').map(Number)
const size = Number(options.size)
const seconds = Number(options.seconds)
const unit = { mean: [0, 0, 0], std: [1, 1, 1] }

const open = (plan: Plan, network: Network, precision: GpuPrecision, batch: number) =>
  createSession(plan, initialise(parametersOf(network), 1), {
    device: 'cuda',
    deviceIndex: Number(options.device),
    precision,
    batchSizes: [batch],
    autotune: options.autotune,
  })

/** Milliseconds per run, one run at a time. */
async function latencies(session: Session, pixels: Uint8Array): Promise<number[]> {
  for (let i = 0; i < 3; i++) await session.run(pixels, { outputs: ['logits'] })
  const times: number[] = []
  const end = performance.now() + seconds * 1000
  while (performance.now() < end || times.length < 5) {
    const begin = performance.now()
    await session.run(pixels, { outputs: ['logits'] })
    times.push(performance.now() - begin)
  }
  return times
}

/** Milliseconds per run with several in flight, so that copying and computing overlap. */
async function throughput(session: Session, pixels: Uint8Array): Promise<number> {
  let runs = 0
  const begin = performance.now()
  const lane = async () => {
    while (performance.now() - begin < seconds * 1000) {
      await session.run(pixels, { outputs: ['logits'] })
      runs++
    }
  }
  await Promise.all([lane(), lane(), lane()])
  return (performance.now() - begin) / runs
}

/** The ceiling, measured by the extra layers of a longer chain of equal layers, so that everything around them cancels out. */
async function ceiling(precision: GpuPrecision, kind: 'FLOP' | 'byte'): Promise<number> {
  const [channels, batch, height] = [2048, 8, 64]
  const chain = (length: number): Network => {
    let x = conv(input(), { name: 'in', channels, kernel: 1 })
    for (let i = 0; i < length; i++)
      x = kind === 'FLOP' ? conv(x, { name: `c${i}`, channels, kernel: 1 }) : batchNorm(x, { name: `b${i}` }) // nothing absorbs the second and later ones
    const logits = linear(globalAvgPool(x), { name: 'fc', classes: 8 })
    return { name: kind, graph: x.graph, outputs: { logits } }
  }
  const times: number[] = []
  const works: number[] = []
  for (const length of [2, 12]) {
    const network = chain(length)
    const plan = lower(network, { height, width: height, ...unit })
    await using session = await open(plan, network, precision, batch)
    times.push(median(await latencies(session, new Uint8Array(batch * height * height * 3))))
    works.push(
      kind === 'FLOP'
        ? planCost(plan).flops * batch
        : length * 2 * batch * height * height * channels * precisionBytes[precision],
    )
  }
  return ((works[1]! - works[0]!) / (times[1]! - times[0]!)) * 1000
}

console.log(`${cuda.details}${options.autotune ? ', autotuned' : ''}\n`)
const rows = [
  [
    'network',
    'precision',
    'batch',
    'images/s',
    'ms median',
    'ms p99',
    'TFLOP/s',
    'of ceiling',
    'GB/s',
    'of ceiling',
  ],
]
for (const precision of options.precision.split(',') as GpuPrecision[]) {
  const [flopCeiling, byteCeiling] = [await ceiling(precision, 'FLOP'), await ceiling(precision, 'byte')]
  console.log(
    `${precision}: measured ceilings of ${(flopCeiling / 1e12).toFixed(1)} TFLOP/s and ${(byteCeiling / 1e9).toFixed(0)} GB/s`,
  )
  for (const layers of numbers(options.layers)) {
    const network = resnet({ layers })
    const plan = lower(network, { height: size, width: size, ...unit })
    for (const batch of numbers(options.batch)) {
      await using session = await open(plan, network, precision, batch)
      const pixels = Uint8Array.from({ length: batch * size * size * 3 }, (_, i) => (i * 31) & 255)
      const times = await latencies(session, pixels)
      const each = await throughput(session, pixels)
      const [flops, rate] = [planCost(plan).flops * batch, gpuBytes(plan, precision, batch)].map(
        work => work / each / 1e-3,
      ) as [number, number]
      rows.push([
        `${network.name} ${size}x${size}`,
        precision,
        String(batch),
        ((batch / each) * 1000).toFixed(0),
        median(times).toFixed(2),
        quantile(times, 0.99).toFixed(2),
        (flops / 1e12).toFixed(1),
        `${((100 * flops) / flopCeiling).toFixed(0)} %`,
        (rate / 1e9).toFixed(0),
        `${((100 * rate) / byteCeiling).toFixed(0)} %`,
      ])
    }
  }
}
console.log(`\n${alignColumns(rows).join('\n')}`)
