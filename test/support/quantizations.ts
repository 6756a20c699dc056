// Quantizations that fit any plan, though not its numbers.
import type { Plan } from '../../lib/model/plan.ts'
import type { Quantization, QuantizedValue } from '../../lib/model/quantization.ts'

/** A scale for every value, all different; the image is read as bytes. */
export function quantizationOf(plan: Plan, kept: Quantization['kept'] = {}): Quantization {
  const values = plan.ops.flatMap((op, i): [string, QuantizedValue][] => {
    if (op.kind === 'normalize') return [[op.name, { type: 'uint8', scale: 1 }]]
    const isPositive = op.kind === 'conv' && op.relu
    return [[op.name, { type: isPositive ? 'uint8' : 'int8', scale: (i + 1) / 64 }]]
  })
  return { values: Object.fromEntries(values), kept }
}
