// Request parameters: their types and size limits.
import { invalid } from './tensor-values.ts'

/** Besides the data of tensors, in bytes: each few of them may become an object. */
export const mostElse = 2 ** 16

/** The parameter `timeout` is in microseconds, as Triton has it; 0 is none. */
export function parseTimeout(
  parameters: { readonly [key: string]: unknown } | undefined,
): number | undefined {
  const timeout = parameters?.timeout
  if (timeout === undefined || timeout === 0) return undefined
  if (!(Number.isSafeInteger(timeout) && (timeout as number) > 0))
    throw invalid("The parameter 'timeout' is no whole number of microseconds.")
  return (timeout as number) / 1000
}
