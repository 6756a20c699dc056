// The peak memory of a whole load, from a file to a session on the CPU. Each load runs in its own process and is compared with
// the size of the file's numbers as float32 plus 100 MB. Takes files of any format, or makes one of a wide ResNet.
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { packageRoot } from '../lib/base/package-root.ts'
import { initialise, openModel, parametersOf, resnet, saveModel } from '../lib/index.ts'
import { alignColumns } from '../lib/model/format-plan.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layers: { type: 'string', default: '152' },
    'width-per-group': { type: 'string', default: '112' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '3' },
  },
})
const child = join(packageRoot, 'bench', 'load-memory-child.mjs')
const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0)

/** Memory in bytes before loading `file`, and its peak. */
async function peakOf(file: string, exact: boolean): Promise<{ before: number; peak: number }> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    child,
    file,
    String(exact),
    options.threads,
  ])
  return JSON.parse(stdout)
}

const folder = await mkdtemp(join(tmpdir(), 'residual-bench-'))
try {
  const files = positionals
  if (files.length === 0) {
    const architecture = {
      layers: Number(options.layers),
      widthPerGroup: Number(options['width-per-group']),
    }
    files.push(join(folder, 'made.safetensors'))
    const weights = initialise(parametersOf(resnet(architecture)), /*seed=*/ 1)
    await saveModel(files[0]!, { architecture, weights })
  }
  const rows = [['file', 'float32', 'exact', 'bare Node', 'peak', 'over float32', 'and over Node']]
  for (const file of files) {
    await using model = await openModel(file)
    let bytes = 0
    for (const { length } of model.checkpoint.tensors.values()) bytes += 4 * length
    for (const exact of [true, false]) {
      const all: { before: number; peak: number }[] = []
      for (let round = 0; round < Number(options.rounds); round++) all.push(await peakOf(file, exact))
      const { before, peak } = all.reduce((a, b) => (b.peak > a.peak ? b : a))
      const figures = [before, peak, peak - bytes, peak - bytes - before].map(megabytes)
      rows.push([model.checkpoint.format, megabytes(bytes), exact ? 'yes' : 'no', ...figures])
    }
  }
  console.log(
    `${alignColumns(rows, [1, 3, 4, 5, 6]).join('\n')}\n\nIn MB, the maximum of ${options.rounds} processes each.`,
  )
} finally {
  await rm(folder, { recursive: true })
}
