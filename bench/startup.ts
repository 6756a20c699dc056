// How long from a file to the first logits, and how much memory at most, next to onnxruntime-node? Every start is a process of
// its own, the two in turn, and the built package is what runs.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { networkToOnnx } from '../lib/export/onnx.ts'
import { initialise, parametersOf, resnet, writeSafetensors } from '../lib/index.ts'
import { alignColumns } from '../lib/model/format-plan.ts'
import { spread } from '../lib/statistics.ts'

const { values: options } = parseArgs({
  options: {
    layers: { type: 'string', default: '50' },
    batch: { type: 'string', default: '1,8' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '7' },
  },
})
const size = 224

/** What startup-child.mjs prints. */
interface Start {
  readonly milliseconds: number
  /** Above what Node takes before anything is loaded. */
  readonly peakBytes: number
}

const child = new URL('startup-child.mjs', import.meta.url).pathname
const engines = ['residual', 'onnxruntime'] as const

async function start(engine: string, file: string, batch: string): Promise<Start> {
  const args = [child, engine, file, batch, options.threads, String(size)]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return JSON.parse(stdout)
}

const rows = [['network', 'batch', 'what', ...engines, 'ratio']]
const folder = await mkdtemp(join(tmpdir(), 'residual-bench-'))
try {
  for (const layers of options.layers.split(',').map(Number)) {
    const network = resnet({ layers })
    const parameters = parametersOf(network)
    const weights = initialise(parameters, 1)
    const files = { residual: join(folder, 'a.safetensors'), onnxruntime: join(folder, 'b.onnx') }
    const tensors = await Promise.all(
      parameters.map(async ({ name, shape }) => ({ name, shape, data: await weights.read(name) })),
    )
    await writeSafetensors(files.residual, tensors)
    await writeFile(files.onnxruntime, await networkToOnnx(network, weights, { height: size, width: size }))
    for (const batch of options.batch.split(',')) {
      const starts: Record<(typeof engines)[number], Start[]> = { residual: [], onnxruntime: [] }
      for (const engine of engines) await start(engine, files[engine], batch) // the file is in memory from here on
      for (let i = 0; i < Number(options.rounds); i++)
        for (const engine of engines) starts[engine].push(await start(engine, files[engine], batch))
      const row = (what: string, digits: number, of: (start: Start) => number) => {
        const [ours, theirs] = engines.map(engine => starts[engine].map(of))
        const ratios = ours!.map((x, i) => theirs![i]! / x)
        const cells = [ours!, theirs!].map(values => spread(values, digits))
        rows.push([network.name, batch, what, ...cells, spread(ratios, 2)])
      }
      row('file to first logits, ms', 0, start => start.milliseconds)
      row('peak memory over bare Node, MiB', 0, start => start.peakBytes / 2 ** 20)
    }
    const mebibytes = (await stat(files.residual)).size / 2 ** 20
    console.log(`${network.name}: ${mebibytes.toFixed(0)} MiB of weights`)
  }
} finally {
  await rm(folder, { recursive: true })
}
console.log(
  `\nMedians, quartiles in brackets; the ratio is onnxruntime's figure over residual's, pair by pair.\n`,
)
console.log(alignColumns(rows).join('\n'))
