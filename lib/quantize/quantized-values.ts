// How each value of a network is kept in 8 bits: the type from what makes it, the scale from what was seen of it.
import { Pauses } from '../base/pauses.ts'
import { type Op, operandsOf, rowOf } from '../model/ops.ts'
import type { Plan } from '../model/plan.ts'
import type { Quantization, QuantizedValue } from '../model/quantization.ts'
import type { Observation } from '../runtime/native.ts'
import { chooseRange, type RangeMethod } from './ranges.ts'

/** The steps from 0 to the largest number. */
export const stepsOf = { int8: 127, uint8: 255 } as const

/** By value of the plan: whether it has no negative numbers, whatever the image. */
function nonNegative({ ops }: Plan): readonly boolean[] {
  const result: boolean[] = []
  for (const op of ops) {
    const inputs = operandsOf(op).map(({ index }) => result[index]!)
    result[op.dst] =
      op.kind === 'conv'
        ? op.relu
        : rowOf(op).activation === true || (!rowOf(op).weighted && inputs.length > 0 && inputs.every(Boolean))
  }
  return result
}

/** The operations whose values are read in int8 and have scales of their own: a max pool has that of what it reads. */
function withScales({ ops }: Plan): Op[] {
  const read = new Set<number>()
  for (const op of ops) if (rowOf(op).weighted) for (const { index } of operandsOf(op)) read.add(index)
  for (const op of [...ops].reverse())
    if (op.kind === 'maxPool' && read.has(op.dst) && op.src !== ops[0]!.dst) read.add(op.src)
  const isOfItsSource = (op: Op) => op.kind === 'maxPool' && op.src !== ops[0]!.dst
  return ops.filter(op => read.has(op.dst) && !isOfItsSource(op))
}

/**
 * The values of a quantization. The image is kept as its bytes.
 *
 * @param seen by operation of the plan
 */
export async function quantizedValues(
  plan: Plan,
  seen: readonly Observation[],
  method: RangeMethod,
  pauses = new Pauses(),
): Promise<Quantization['values']> {
  const signs = nonNegative(plan)
  const kept = async (op: Op): Promise<QuantizedValue> => {
    if (op.kind === 'normalize') return { type: 'uint8', scale: 1 }
    const type = signs[op.dst] ? 'uint8' : 'int8'
    const its = seen[plan.ops.indexOf(op)]!
    const largest = its.channelMaxima.reduce((a, b) => Math.max(a, b), 0)
    const range = (await chooseRange(its, largest, stepsOf[type], method, pauses)) || 1 // any will do for zeros
    return { type, scale: Math.fround(range / stepsOf[type]) }
  }
  const values: [string, QuantizedValue][] = []
  for (const op of withScales(plan)) values.push([op.name, await kept(op)])
  return Object.fromEntries(values)
}

/** By value of the plan: the scale it is kept with, if it has one. */
export function scalesOf({ ops }: Plan, values: Quantization['values']): readonly (number | undefined)[] {
  const scales: (number | undefined)[] = []
  for (const op of ops)
    scales[op.dst] = values[op.name]?.scale ?? (op.kind === 'maxPool' ? scales[op.src] : undefined)
  return scales
}
