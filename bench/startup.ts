// Time from a file to the first logits, and peak memory, next to onnxruntime-node. `npm run bench` measures this too; this runs
// it alone, with more starts.
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { packageRoot } from '../lib/base/package-root.ts'
import { packageVersion } from '../lib/base/package-version.ts'
import { quartiles, quartilesText } from '../lib/base/statistics.ts'
import { findOnnxRuntime, onnxRuntimeEngine } from '../lib/benchmark/onnxruntime.ts'
import { residualEngine } from '../lib/benchmark/residual-engine.ts'
import { starts } from '../lib/benchmark/start.ts'
import { makeSubject } from '../lib/benchmark/subject.ts'
import { openNamedModel } from '../lib/cli/options/named-model.ts'
import { alignColumns } from '../lib/model/format-plan.ts'

const { values: options } = parseArgs({
  options: {
    layers: { type: 'string', default: '50' },
    batch: { type: 'string', default: '1,8' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '7' },
  },
})
const found = findOnnxRuntime(packageRoot)
if ('missing' in found) throw new Error(`onnxruntime-node: ${found.missing}`) // it is a devDependency
const engines = [residualEngine(packageVersion()), onnxRuntimeEngine(found)]
const settings = { threads: Number(options.threads), precision: 'fp32' } as const

const rows = [['network', 'batch', 'what', ...engines.map(({ name }) => name), 'ratio']]
const folder = await mkdtemp(join(tmpdir(), 'residual-bench-'))
try {
  for (const layers of options.layers.split(',')) {
    const subject = await makeSubject(
      `resnet${layers}`,
      await openNamedModel(`resnet${layers}`, /*size=*/ 224),
      folder,
    )
    for (const batch of options.batch.split(',').map(Number)) {
      const [, ...imageDims] = subject.samples.dims
      const all = await starts(engines, subject, [batch, ...imageDims], settings, Number(options.rounds))
      const row = (what: string, values: readonly number[][]) => {
        const [ours, theirs] = values as [number[], number[]]
        const cells = values.map(ofEngine => quartilesText(quartiles(ofEngine), 0))
        const ratio = quartiles(ours.map((x, i) => theirs[i]! / x))
        rows.push([subject.name, String(batch), what, ...cells, quartilesText(ratio, 2)])
      }
      row(
        'file to first logits, ms',
        all.map(ofEngine => ofEngine.map(({ milliseconds }) => milliseconds)),
      )
      if (all[0]![0]!.peakBytes !== null)
        row(
          'peak memory over bare Node, MiB',
          all.map(ofEngine => ofEngine.map(({ peakBytes }) => peakBytes! / 2 ** 20)),
        )
    }
    const mebibytes = (await stat(subject.checkpoint)).size / 2 ** 20
    console.log(`${subject.name}: ${mebibytes.toFixed(0)} MiB of weights`)
  }
} finally {
  await rm(folder, { recursive: true })
}
console.log(
  `\nMedians, quartiles in brackets; the ratio is onnxruntime's figure over residual's, pair by pair.\n`,
)
console.log(alignColumns(rows).join('\n'))
