// How do the times of single operations read to a person?
import { alignColumns, shapeText } from '../model/format-plan.ts'
import { caseName } from './case-name.ts'
import type { OpCase, OpResult } from './ops.ts'

/** A table: a line per operation, and the sums. */
export function opText(opCase: OpCase): string {
  const { rounds, ops, noise, onnxRuntimeRestMs } = opCase
  const peak = Math.max(opCase.peak.before, opCase.peak.after)
  const compared = onnxRuntimeRestMs !== null
  const cells = (labels: string[], ours: number, theirs: number | null, gflop: number) => {
    const rate = (ms: number) => (ms > 0 ? gflop / (ms / 1000) : 0)
    const share = (ms: number) => [rate(ms).toFixed(0), `${((100 * rate(ms)) / peak).toFixed(0)} %`]
    const mine = [...labels, ours.toFixed(3), ...share(ours)]
    if (theirs === null) return mine
    return [...mine, theirs.toFixed(3), ...share(theirs), ours > 0 ? (theirs / ours).toFixed(2) : '']
  }
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
  const total = cells(
    ['all', '', ''],
    sum(ops.map(op => op.milliseconds)),
    compared ? sum(ops.map(op => op.onnxRuntimeMs!)) + onnxRuntimeRestMs : null,
    sum(ops.map(op => op.gflop)),
  )
  const header = ['operation', 'from -> to', 'algorithm', 'ms', 'GFLOP/s', 'of peak']
  const rows = [
    [...header, ...(compared ? ['onnxruntime ms', 'GFLOP/s', 'of peak', 'ratio'] : [])],
    ...ops.map(op =>
      cells(
        [`${op.name} ${op.kind}`, shapesText(op), op.algorithm ?? ''],
        op.milliseconds,
        op.onnxRuntimeMs,
        op.gflop,
      ),
    ),
    ...(compared ? [['(other nodes)', '', '', '', '', '', onnxRuntimeRestMs.toFixed(3), '', '', '']] : []),
    total,
  ]
  return [
    `${caseName(opCase)}: medians of ${rounds} rounds; the FMA peak is ${peak.toFixed(0)} GFLOP/s`,
    ...alignColumns(rows, [3, 4, 5, 6, 7, 8, 9]),
    ...noise.map(reason => `NOISY: ${reason}`),
  ].join('\n')
}

function shapesText({ from, to }: OpResult): string {
  return from === null ? shapeText(to) : `${shapeText(from)} -> ${shapeText(to)}`
}
