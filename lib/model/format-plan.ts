// Plans as text.
import { visible } from '../base/text.ts'
import { type Op, operandsOf, type Window } from './ops.ts'
import { opCost, type Plan, planCost } from './plan.ts'
import { type PlanValue, shapeText } from './value.ts'

/** A table: a line per operation with shapes, what is fused into it, MFLOP and KiB per image; then the totals. */
export function formatPlan(plan: Plan): string {
  const rows = plan.ops.map(op => {
    const cost = opCost(plan, op)
    return [
      op.name,
      op.kind,
      op.kind === 'normalize' ? 'bytes' : valueText(plan.values[op.src]!),
      valueText(plan.values[op.dst]!),
      details(plan, op),
      (cost.flops / 1e6).toFixed(2),
      (cost.weightBytes / 1024).toFixed(1),
      (cost.activationBytes / 1024).toFixed(1),
    ]
  })
  const header = ['operation', 'kind', 'from', 'to', '', 'MFLOP', 'weights KiB', 'data KiB']
  const total = planCost(plan)
  const isFloat = plan.values.every(({ precision = 'fp32' }) => precision === 'fp32')
  return [
    ...alignColumns([header, ...rows], [5, 6, 7]),
    '',
    `${plan.name}: ${plan.ops.length} operations, ${(total.flops / 1e9).toFixed(3)} GFLOP an image, ` +
      `${(total.weightBytes / 2 ** 20).toFixed(1)} MiB of weights${isFloat ? ' in float32' : ''}`,
  ].join('\n')
}

/** Pads cells, of which control characters are shown, to columns two spaces apart; the columns in `right` are set to the right. */
export function alignColumns(rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const cells = rows.map(row => row.map(visible))
  const widths = rows[0]!.map((_, column) =>
    cells.reduce((width, row) => Math.max(width, row[column]!.length), 0),
  )
  return cells.map(row =>
    row
      .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd(),
  )
}

/** The precision is shown where it is not fp32, one of 8 bits with its scale. */
function valueText(value: PlanValue): string {
  const { precision = 'fp32', scale } = value
  const shown =
    precision === 'fp32'
      ? []
      : [precision, ...(scale === undefined ? [] : [`*${Number(scale.toPrecision(4))}`])]
  return [shapeText(value), ...shown].join(' ')
}

function details(plan: Plan, op: Op): string {
  const parts: string[] = []
  if ('kernel' in op) parts.push(op.kind === 'conv' && op.convName === null ? 'pass' : windowText(op))
  if (op.kind === 'conv') {
    if (op.groups > 1 && op.convName !== null) parts.push(`${op.groups} groups`)
    if (op.averaged) parts.push('mean')
    if (op.batchNorm) parts.push('bn')
  }
  for (const { operand, index } of operandsOf(op))
    if (operand.sign !== undefined)
      parts.push(`${operand.sign} ${plan.ops.find(({ dst }) => dst === index)!.name}`)
  if (op.kind === 'conv' && op.relu) parts.push('relu')
  return parts.join(' ')
}

function windowText({ kernel, stride, padding }: Window): string {
  return `${kernel}x${kernel}${stride > 1 ? `/${stride}` : ''}${padding > 0 ? ` pad ${padding}` : ''}`
}
