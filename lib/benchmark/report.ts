// The report of a benchmark, as text and as JSON.

import { quartilesText } from '../base/statistics.ts'
import { alignColumns } from '../model/format-plan.ts'
import type { Case, Result } from './benchmark.ts'
import { caseName } from './case-name.ts'
import { type Machine, machineText } from './machine.ts'
import { opText } from './op-report.ts'
import type { OpCase } from './ops.ts'

/** The report as it is written to JSON. */
export interface Report {
  readonly date: string
  readonly machine: Machine
  /** The instruction set of residual's kernels for fp32. */
  readonly isa: string
  /** Those of its kernels for fewer bits, of the precisions measured. */
  readonly kernels: { readonly bf16?: string; readonly int8?: string }
  /** By engine. */
  readonly versions: { readonly [engine: string]: string }
  readonly cases: readonly Case[]
  /** Results by operation, if those were requested instead. */
  readonly opCases: readonly OpCase[]
}

const header = [
  'network',
  'threads',
  'batch',
  'precision',
  'engine',
  'ms',
  'images/s',
  'ratio',
  'GFLOP/s',
  'of peak',
  'same top-1',
  'differs by',
  'load ms',
  'MiB',
]

export function reportText(report: Report): string {
  const { date, machine, versions, cases, opCases } = report
  return [
    `${machineText(machine, kernelsText(report))}, ${date}`,
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    '',
    ...(cases.length > 0 ? casesText(cases) : []),
    ...opCases.flatMap(opCase => [opText(opCase), '']),
  ].join('\n')
}

/** The instruction sets in use: `avx512, int8 amx`. */
export function kernelsText({ isa, kernels }: Report): string {
  return [isa, ...Object.entries(kernels).map(([precision, name]) => `${precision} ${name}`)].join(', ')
}

function casesText(cases: readonly Case[]): string[] {
  const rows = cases.flatMap(oneCase => oneCase.results.map((result, i) => row(oneCase, result, i === 0)))
  const rounds = cases.map(({ results }) => results[0]!.times.length)
  const [fewest, most] = [Math.min(...rounds), Math.max(...rounds)]
  return [
    ...alignColumns([header, ...rows], [1, 2, 6, 8, 9, 10, 11, 13]),
    '',
    `Medians of ${fewest === most ? most : `${fewest} to ${most}`} rounds, quartiles in brackets. ratio: the engine's time over`,
    "residual's, round by round; above 1 residual is faster. docs/benchmark.md explains every column.",
    ...noteLines(cases),
    ...noiseLines(cases),
    ...failureLines(cases),
  ]
}

/** One line of progress about a finished case. */
export function caseText(oneCase: Case): string {
  const [ours, ...others] = oneCase.results
  const parts = [
    `${ours!.engine} ${quartilesText(ours!.milliseconds, 1)} ms`,
    ...others.map(({ engine, ratio }) => `${engine} takes ${quartilesText(ratio!, 2)} times as long`),
  ]
  const failed = oneCase.failures.map(({ engine }) => `${engine} failed`)
  const noisy = oneCase.noise.length > 0 ? ' (noisy)' : ''
  return `${caseName(oneCase)}: ${[...parts, ...failed].join(', ')}${noisy}`
}

function row(oneCase: Case, result: Result, first: boolean): string[] {
  const { network, threads, batch, precision } = oneCase
  return [
    ...(first ? [network, String(threads), String(batch), precision] : ['', '', '', '']),
    result.engine,
    quartilesText(result.milliseconds, 1),
    result.imagesPerSecond.toFixed(1),
    result.ratio === null ? '' : quartilesText(result.ratio, 2),
    result.gflops.toFixed(0),
    result.peakShare === null ? '' : `${(100 * result.peakShare).toFixed(0)} %`,
    `${(100 * result.agreement).toFixed(1)} %`,
    result.difference.toExponential(0),
    result.startMs === null ? '' : quartilesText(result.startMs, 0),
    result.peakBytes === null ? '' : (result.peakBytes / 2 ** 20).toFixed(0),
  ]
}

function noteLines(cases: readonly Case[]): string[] {
  const notes = cases.flatMap(({ precision, results }) =>
    results.flatMap(({ engine, note }) => (note === undefined ? [] : [`${engine}, ${precision}: ${note}`])),
  )
  return [...new Set(notes)]
}

function noiseLines(cases: readonly Case[]): string[] {
  const noisy = cases.filter(({ noise }) => noise.length > 0)
  if (noisy.length === 0) return []
  return [
    '',
    `NOISY: something else used this machine during ${noisy.length} of ${cases.length} measurements. Measure these again:`,
    ...noisy.map(oneCase => `  ${caseName(oneCase)}: ${oneCase.noise.join('; ')}`),
  ]
}

function failureLines(cases: readonly Case[]): string[] {
  const lines = cases.flatMap(oneCase =>
    oneCase.failures.map(
      ({ engine, reason }) => `  ${caseName(oneCase)}, ${engine}: ${reason.replaceAll('\n', '\n    ')}`,
    ),
  )
  return lines.length === 0 ? [] : ['', 'FAILED, and left out of these measurements:', ...lines]
}
