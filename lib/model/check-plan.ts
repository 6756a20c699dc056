// Validation of plans that somebody else may have made or changed. C++ checks again, and refuses the same plans in the same words.
import { ResidualError } from '../errors.ts'
import { dueShape, type Op, type OpKind, operandsOf, ops, resultExtent, rowOf, type Window } from './ops.ts'
import { outputNames, type Plan } from './plan.ts'
import {
  elements,
  type PlanValue,
  sameShape,
  shapeText,
  type ValuePrecision,
  valuePrecisions,
} from './value.ts'

export const mostExtent = 2 ** 20 // of any height, width or number of channels, and of what describes a window
const mostElements = 2 ** 28 // of one image's worth of a value, and of one operation's weights
const mostInteger = 1e9
const mostOps = 2 ** 16 // and values

/**
 * Refuses a plan that cannot be run: unknown kinds and precisions, values read before they are written, shapes that do not follow.
 *
 * @throws ResidualError PLAN_INVALID
 */
export function checkPlan(plan: Plan): void {
  object(plan, 'root')
  for (const value of array(plan.values, 'values', mostOps)) checkNumbers(value as PlanValue)
  for (const op of array(plan.ops, 'ops', mostOps)) checkMembers(op as Op)
  object(plan.outputs, 'outputs')
  for (const name of outputNames) if (plan.outputs[name] !== undefined) integer(plan.outputs[name], name, 0)
  if (plan.ops[0]?.kind !== 'normalize') throw invalid("A plan must begin with a 'normalize' operation.")
  const written = new Set<number>()
  for (const [i, op] of plan.ops.entries()) checkOp(plan, op, i, written)
  for (const name of outputNames)
    if (plan.outputs[name] !== undefined && !written.has(plan.outputs[name]))
      throw invalid('The plan returns a value that no operation writes.')
}

const invalid = (message: string) => new ResidualError('PLAN_INVALID', message)
const refused = (what: string, problem: string) => invalid(`The plan's ${what} ${problem}.`)

function object(value: unknown, what: string): void {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null)
    throw refused(what, 'must be an object')
}

function array(value: unknown, what: string, most: number): readonly unknown[] {
  if (!Array.isArray(value)) throw refused(what, 'must be an array')
  if (value.length > most) throw refused(what, `must have at most ${most} elements`)
  return value
}

function integer(value: unknown, what: string, least = -mostInteger): void {
  if (typeof value !== 'number' || value !== Math.floor(value)) throw refused(what, 'must be an integer')
  if (!(value >= least && value <= mostInteger))
    throw refused(what, `must be from ${least} to ${mostInteger}`)
}

function number(value: unknown, what: string): void {
  if (typeof value !== 'number') throw refused(what, 'must be a number')
}

function string(value: unknown, what: string): void {
  if (typeof value !== 'string') throw refused(what, 'must be a string')
}

/** The types of what describes a value. */
function checkNumbers(value: PlanValue): void {
  object(value, 'value')
  for (const name of ['height', 'width', 'channels'] as const) integer(value[name], name)
  const { precision = 'fp32', scale } = value as { precision?: ValuePrecision; scale?: number }
  string(precision, 'precision')
  if (!Object.hasOwn(valuePrecisions, precision))
    throw refused('values', `include the unknown precision '${precision}'`)
  if (scale !== undefined) number(scale, 'scale')
  if ((scale === undefined) === valuePrecisions[precision].scaled)
    throw refused('scale', scale === undefined ? 'is missing' : 'is given for a precision without one')
}

/** The types of what describes an operation. */
function checkMembers(op: Op): void {
  object(op, 'operation')
  string(op.kind, 'kind')
  if (!Object.hasOwn(ops, op.kind))
    throw refused('operations', `include the unknown kind '${op.kind satisfies OpKind}'`)
  string(op.name, 'name')
  integer(op.dst, 'dst', 0)
  const members = op as unknown as { readonly [member: string]: unknown }
  for (const { name, optional } of rowOf(op).operands)
    if (!optional || members[name] !== null) integer(members[name], name, 0)
  for (const { name, type } of rowOf(op).attributes) {
    const member = members[name]
    if (type === 'integer') integer(member, name)
    else if (type === 'floats')
      for (const each of array(member, name, mostExtent)) number(each, `${name} element`)
    else if (typeof member !== 'boolean') throw refused(name, 'must be a boolean')
  }
}

function checkOp(plan: Plan, op: Op, position: number, written: Set<number>): void {
  const problem = (what: string) => invalid(`The plan's operation '${op.name}' ${what}.`)
  const within = (name: string, value: number, least: number) => {
    if (value < least || value > mostExtent)
      throw problem(`has ${name} ${value}, outside ${least} to ${mostExtent}`)
  }
  if ((op.kind === 'normalize') !== (position === 0)) throw problem("is a 'normalize' that is not the first")
  for (const { index } of operandsOf(op))
    if (!written.has(index)) throw problem(`reads value ${index}, which no earlier operation wrote`)
  const dst = plan.values[op.dst]
  if (!dst || written.has(op.dst))
    throw problem(`writes value ${op.dst}, which does not exist or has already been written`)

  for (const name of ['height', 'width', 'channels'] as const) within(name, dst[name], 1)
  if (elements(dst) > mostElements) throw problem('writes a value that is too large')
  const scale = Math.fround(dst.scale ?? 1)
  if (!(scale > 0 && Number.isFinite(scale))) throw problem('writes with a scale out of range')
  if (op.kind === 'normalize' && dst.precision === 'uint8' && scale !== 1)
    throw problem('writes bytes with a scale other than 1')

  const members = op as unknown as { readonly [member: string]: unknown }
  for (const attribute of rowOf(op).attributes) {
    const { name, type } = attribute
    if (type === 'integer') within(name, members[name] as number, attribute.least)
    if (type !== 'floats') continue
    const [floats, least, most] = [
      members[name] as number[],
      Math.fround(attribute.least),
      Math.fround(attribute.most),
    ]
    if (floats.length !== dst.channels) throw problem(`needs a ${name} per channel`)
    if (!floats.map(Math.fround).every(value => value >= least && value <= most))
      throw problem(`has a ${name} out of range`)
  }
  if (op.kind !== 'normalize') checkShapes(plan, op, problem)
  written.add(op.dst)
}

function checkShapes(
  plan: Plan,
  op: Exclude<Op, { kind: 'normalize' }>,
  problem: (what: string) => Error,
): void {
  const [src, dst, row] = [plan.values[op.src]!, plan.values[op.dst]!, rowOf(op)]
  const { kernel = 1, padding = 0, groups = 1 } = op as Partial<Window> & { groups?: number }
  if (row.extent === 'filledWindows' && 2 * padding > kernel)
    throw problem('is padded by more than half its window')
  const extent = resultExtent(op, src)
  if (extent.height < 1 || extent.width < 1) throw problem('has a window larger than its padded input')
  const expected = { ...extent, channels: (row.channels === 'source' ? src : dst).channels }
  if (!sameShape(dst, expected))
    throw problem(`writes ${shapeText(dst)} where ${shapeText(expected)} is expected`)
  for (const { operand, index } of operandsOf(op)) {
    const given = plan.values[index]!
    const due = dueShape(operand, given, dst)
    if (!sameShape(given, due))
      throw problem(`takes a ${operand.name} of ${shapeText(given)} where ${shapeText(due)} is expected`)
  }
  if (!row.weighted) return
  if (src.channels % groups !== 0 || dst.channels % groups !== 0)
    throw problem('has groups that do not divide its channels')
  if (
    kernel ** 2 > mostElements ||
    dst.channels * (src.channels / groups) > Math.floor(mostElements / kernel ** 2)
  )
    throw problem('has too many weights')
}
