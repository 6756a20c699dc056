// `residual bench` on the usual networks, with Python engines next to onnxruntime-node. Prints a table, writes JSON and a chart.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { packageRoot } from '../lib/base/package-root.ts'
import { packageVersion } from '../lib/base/package-version.ts'
import { chartSvg } from '../lib/benchmark/chart.ts'
import type { Engine } from '../lib/benchmark/engine.ts'
import { findOnnxRuntime, onnxRuntimeEngine } from '../lib/benchmark/onnxruntime.ts'
import { type Report, reportText } from '../lib/benchmark/report.ts'
import { residualEngine } from '../lib/benchmark/residual-engine.ts'
import {
  type BenchSettings,
  benchOptions,
  exitCode,
  runBenchmark,
  sessionOptions,
  writeText,
} from '../lib/cli/bench.ts'
import { type Hidden, hiddenHere, hideable, runHiding } from './hide-features.ts'
import { findPythonEngines, pythonEngineNames } from './python.ts'
import { referencePython } from './reference-python.ts'

const names = (text: string) => text.split(',')
const command = benchOptions(new Command('bench'))
  .option('--models <names>', 'bundled models, files, or resnet18 to resnet152', names, [
    'resnet50',
    'resnet101',
    'resnet152',
    'resnet50-cifar10',
  ])
  .option(
    '--engines <names>',
    `engines to compare with: onnxruntime, ${pythonEngineNames.join(', ')} (default: all that are installed)`,
    names,
  )
  .option('--python <path>', 'a Python with some of the engines', referencePython)
  .addOption(
    new Option(
      '--hide <what>',
      'hide AMX, AVX-512 too, or AVX-VNNI too, from every engine (Linux, x86-64)',
    ).choices(hideable),
  )
  .option('--hide-avx512', 'the same as --hide avx512')
  .option('--out <folder>', 'folder for bench.json and bench.svg', join(packageRoot, 'build', 'bench'))
  .parse()
const options = command.opts<
  BenchSettings & {
    readonly models: readonly string[]
    readonly engines?: readonly string[]
    readonly python: string
    readonly hide?: Hidden
    readonly hideAvx512?: boolean
    readonly out: string
  }
>()

const hidden = options.hide ?? (options.hideAvx512 ? 'avx512' : undefined)
const hiddenNote = hidden && hiddenHere(hidden)
if (hidden && hiddenNote === undefined) process.exit(runHiding(hidden))

const found = findOnnxRuntime(packageRoot)
if ('missing' in found) throw new Error(`onnxruntime-node: ${found.missing}`) // it is a devDependency
const peers: Engine[] = [onnxRuntimeEngine(found)]
const pythonNames = options.engines
  ? pythonEngineNames.filter(name => options.engines!.includes(name))
  : options.op
    ? []
    : pythonEngineNames
if (pythonNames.length > 0) {
  const python = await findPythonEngines(options.python, pythonNames)
  for (const line of python.report) console.error(line)
  peers.push(...python.engines)
}
const wanted = options.engines?.filter(name => name !== 'residual') ?? peers.map(({ name }) => name)
const unknown = wanted.filter(name => !peers.some(peer => peer.name === name))
if (unknown.length > 0) command.error(`error: not available here: ${unknown.join(', ')}`)

const engines = [
  residualEngine(packageVersion(), sessionOptions(options)),
  ...peers.filter(({ name }) => wanted.includes(name)),
]
await mkdir(options.out, { recursive: true })
let last: Report | undefined
try {
  for await (const report of runBenchmark(options.models, engines, found.module, options)) {
    last = hiddenNote === undefined ? report : withNote(report, hiddenNote)
    await writeText(join(options.out, 'bench.json'), `${JSON.stringify(last, null, 2)}\n`)
    if (last.cases.length > 0) await writeText(join(options.out, 'bench.svg'), chartSvg(last))
  }
} finally {
  if (last) {
    console.log(reportText(last)) // everything measured so far
    console.log(`\nAlso written as JSON and as a chart to ${options.out}.`)
  }
}
process.exitCode = exitCode(last!)

function withNote(report: Report, note: string): Report {
  return { ...report, machine: { ...report.machine, cpu: `${report.machine.cpu} (${note})` } }
}
