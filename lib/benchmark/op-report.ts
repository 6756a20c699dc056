// The report on single operations, as text.

import { type Quartiles, quartilesText } from '../base/statistics.ts'
import { alignColumns } from '../model/format-plan.ts'
import { shapeText } from '../model/value.ts'
import { caseName } from './case-name.ts'
import type { Compared, OpCase, OpResult } from './ops.ts'

/** A table: a line per operation, and the sums. */
export function opText(opCase: OpCase): string {
  const { rounds, ops, all, noise, onnxRuntimeRestMs } = opCase
  const peak = Math.max(opCase.peak.before, opCase.peak.after)
  const cells = (labels: string[], { milliseconds, onnxRuntimeMs, ratio }: Compared, gflop: number) => {
    const speed = (ms: Quartiles) => {
      const rate = ms.median > 0 ? gflop / (ms.median / 1000) : 0
      return [quartilesText(ms, 3), rate.toFixed(0), `${((100 * rate) / peak).toFixed(0)} %`]
    }
    const ours = [...labels, ...speed(milliseconds)]
    if (onnxRuntimeRestMs === null) return ours
    const theirs = onnxRuntimeMs === null ? ['', '', ''] : speed(onnxRuntimeMs)
    return [...ours, ...theirs, ratio === null ? '' : quartilesText(ratio, 2)]
  }
  const header = ['operation', 'from -> to', 'algorithm', 'ms', 'GFLOP/s', 'of peak']
  const theirHeader = ['onnxruntime ms', 'GFLOP/s', 'of peak', 'ratio']
  const rest = (ms: Quartiles) => ['(other nodes)', '', '', '', '', '', quartilesText(ms, 3), '', '', '']
  const rows = [
    [...header, ...(onnxRuntimeRestMs === null ? [] : theirHeader)],
    ...ops.map(op =>
      cells([`${op.name} ${op.kind}`, shapesText(op), op.algorithm ?? ''], op.times, op.gflop),
    ),
    ...(onnxRuntimeRestMs === null ? [] : [rest(onnxRuntimeRestMs)]),
    cells(
      ['all', '', ''],
      all,
      ops.reduce((total, { gflop }) => total + gflop, 0),
    ),
  ]
  return [
    `${caseName(opCase)}: medians of ${rounds} rounds, quartiles in brackets; the FMA peak is ${peak.toFixed(0)} GFLOP/s`,
    ...alignColumns(rows, [4, 5, 7, 8]),
    ...noise.map(reason => `NOISY: ${reason}`),
  ].join('\n')
}

function shapesText({ from, to }: OpResult): string {
  return from === null ? shapeText(to) : `${shapeText(from)} -> ${shapeText(to)}`
}
