// Request parameters: their types and size limits.
import { invalid } from './tensor-values.ts'

/** The most bytes besides tensor data: every few of them may become an object. */
export const mostElse = 2 ** 16

/** The parameter `timeout`, in microseconds as in Triton; 0 means none. */
export function parseTimeout(
  parameters: { readonly [key: string]: unknown } | undefined,
): number | undefined {
  const timeout = parameters?.timeout
  if (timeout === undefined || timeout === 0) return undefined
  if (!(Number.isSafeInteger(timeout) && (timeout as number) > 0))
    throw invalid("The parameter 'timeout' must be a whole number of microseconds.")
  return (timeout as number) / 1000
}
