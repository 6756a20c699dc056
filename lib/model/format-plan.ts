// Plans as text.
import { visible } from '../base/text.ts'
import { type Op, opCost, type Plan, planCost, type Shape } from './plan.ts'

/** A table: a line per operation with shapes, what is fused into it, MFLOP and KiB per image; then the totals. */
export function formatPlan(plan: Plan): string {
  const rows = plan.ops.map(op => {
    const cost = opCost(plan, op)
    return [
      op.name,
      op.kind,
      op.kind === 'normalize' ? 'bytes' : shapeText(plan.values[op.src]!),
      shapeText(plan.values[op.dst]!),
      details(plan, op),
      (cost.flops / 1e6).toFixed(2),
      (cost.weightBytes / 1024).toFixed(1),
      (cost.activationBytes / 1024).toFixed(1),
    ]
  })
  const header = ['operation', 'kind', 'from', 'to', '', 'MFLOP', 'weights KiB', 'data KiB']
  const total = planCost(plan)
  return [
    ...alignColumns([header, ...rows], [5, 6, 7]),
    '',
    `${plan.name}: ${plan.ops.length} operations, ${(total.flops / 1e9).toFixed(3)} GFLOP an image, ` +
      `${(total.weightBytes / 2 ** 20).toFixed(1)} MiB of weights in float32`,
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

export function shapeText({ height, width, channels }: Shape): string {
  return `${height}x${width}x${channels}`
}

function details(plan: Plan, op: Op): string {
  if (op.kind === 'maxPool') return windowText(op)
  if (op.kind !== 'conv') return ''
  const parts = [op.convName === null ? 'pass' : windowText(op)]
  if (op.groups > 1 && op.convName !== null) parts.push(`${op.groups} groups`)
  if (op.averaged) parts.push('mean')
  if (op.batchNorm) parts.push('bn')
  if (op.residual !== null) parts.push(`+ ${plan.ops.find(other => other.dst === op.residual)!.name}`)
  if (op.relu) parts.push('relu')
  return parts.join(' ')
}

/** Of a convolution or a pool. */
export function windowText({
  kernel,
  stride,
  padding,
}: {
  kernel: number
  stride: number
  padding: number
}): string {
  return `${kernel}x${kernel}${stride > 1 ? `/${stride}` : ''}${padding > 0 ? ` pad ${padding}` : ''}`
}
