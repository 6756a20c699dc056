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
  readonly isa: string
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
  'engine',
  'ms',
  'images/s',
  'ratio',
  'GFLOP/s',
  'of peak',
  'load ms',
  'MiB',
]

export function reportText({ date, machine, isa, versions, cases, opCases }: Report): string {
  return [
    `${machineText(machine, isa)}, ${date}`,
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    '',
    ...(cases.length > 0 ? casesText(cases) : []),
    ...opCases.flatMap(opCase => [opText(opCase), '']),
  ].join('\n')
}

function casesText(cases: readonly Case[]): string[] {
  const rows = cases.flatMap(oneCase => oneCase.results.map((result, i) => row(oneCase, result, i === 0)))
  const rounds = cases.map(({ results }) => results[0]!.times.length)
  const [fewest, most] = [Math.min(...rounds), Math.max(...rounds)]
  return [
    ...alignColumns([header, ...rows], [1, 2, 5, 7, 8, 10]),
    '',
    `Medians of ${fewest === most ? most : `${fewest} to ${most}`} rounds, quartiles in brackets. ratio: the engine's time over`,
    "residual's, round by round; above 1 residual is faster. docs/benchmark.md explains every column.",
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
  const { network, threads, batch } = oneCase
  return [
    ...(first ? [network, String(threads), String(batch)] : ['', '', '']),
    result.engine,
    quartilesText(result.milliseconds, 1),
    result.imagesPerSecond.toFixed(1),
    result.ratio === null ? '' : quartilesText(result.ratio, 2),
    result.gflops.toFixed(0),
    `${(100 * result.peakShare).toFixed(0)} %`,
    result.startMs === null ? '' : quartilesText(result.startMs, 0),
    result.peakBytes === null ? '' : (result.peakBytes / 2 ** 20).toFixed(0),
  ]
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
