// How fast is this next to onnxruntime-node? The same network, weights, pictures and threads, in turn, in one process.
import { parseArgs } from 'node:util'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { networkToOnnx } from '../lib/export/onnx.ts'
import { createSession, lower, parametersOf, planCost, resnet } from '../lib/index.ts'
import { alignColumns } from '../lib/model/format-plan.ts'
import { median, spread } from '../lib/statistics.ts'
import { initialise } from '../lib/weights/init.ts'
import { toNchw } from '../test/support/nchw.ts'

const { values: options } = parseArgs({
  options: {
    layers: { type: 'string', default: '50' },
    size: { type: 'string', default: '224' },
    batch: { type: 'string', default: '1,8' },
    threads: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '20' }, // per batch size
  },
})
const numbers = (text: string) => text.split(',').map(Number)
const size = Number(options.size)

/** onnxruntime's threads go on spinning after a run; whoever came next would share the cores with them. */
const settle = () => new Promise(resolve => setTimeout(resolve, 60))
const warmUps = 2

async function timed(run: () => Promise<unknown>): Promise<number> {
  await settle()
  const begin = performance.now()
  await run()
  return performance.now() - begin
}

const rows = [['network', 'threads', 'batch', 'rounds', 'residual ms', 'onnxruntime ms', 'ratio', 'GFLOP/s']]
for (const layers of numbers(options.layers)) {
  const network = resnet({ layers })
  const weights = initialise(parametersOf(network), 1)
  const onnx = await networkToOnnx(network, weights, { height: size, width: size })
  const plan = lower(network, { height: size, width: size, mean: [0, 0, 0], std: [1, 1, 1] })
  for (const threads of numbers(options.threads)) {
    const peer = await InferenceSession.create(onnx, { intraOpNumThreads: threads, logSeverityLevel: 3 })
    await using session = await createSession(plan, weights, { threads })
    for (const batch of numbers(options.batch)) {
      const input = Float32Array.from({ length: batch * size * size * 3 }, (_, i) => Math.sin(i * 0.37))
      const dims = [batch, size, size, 3] as const
      const tensor = new Tensor('float32', toNchw(input, dims), [batch, 3, size, size])
      const ours: number[] = []
      const theirs: number[] = []
      const begin = performance.now()
      while (performance.now() - begin < Number(options.seconds) * 1000 || ours.length < warmUps + 3) {
        theirs.push(await timed(() => peer.run({ x: tensor }, ['logits'])))
        ours.push(await timed(() => session.run(input, { outputs: ['logits'] })))
      }
      const [a, b] = [ours.slice(warmUps), theirs.slice(warmUps)]
      const ratios = a.map((ms, i) => b[i]! / ms)
      const gflops = (planCost(plan).flops * batch) / median(a) / 1e6
      rows.push([
        `${network.name} ${size}x${size}`,
        String(threads),
        String(batch),
        String(a.length),
        spread(a, 1),
        spread(b, 1),
        spread(ratios, 2),
        gflops.toFixed(0),
      ])
      console.log(alignColumns([rows[0]!, rows.at(-1)!]).join('\n'))
    }
    await peer.release()
  }
}
console.log(
  `\nMedians, quartiles in brackets; the ratio is onnxruntime's time over residual's, pair by pair.\n`,
)
console.log(alignColumns(rows).join('\n'))
