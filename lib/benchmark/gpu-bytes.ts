// The bytes that a GPU moves for a batch, by the precision of the session.
import { type Plan, planCost } from '../model/plan.ts'
import type { GpuPrecision } from '../runtime/session-options.ts'

/** Of a number among activations and weights. tf32 is kept as float32. */
export const precisionBytes = { fp32: 4, tf32: 4, fp16: 2, bf16: 2 } as const satisfies Record<
  GpuPrecision,
  number
>

/** Every activation read and written once for each image, every weight once. */
export function gpuBytes(plan: Plan, precision: GpuPrecision, batch: number): number {
  const { activationBytes, weightBytes } = planCost(plan, precisionBytes[precision])
  return activationBytes * batch + weightBytes
}
