// What do many timings say?

/** The value that `share` of the values are below. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)]!
}

export const median = (values: readonly number[]) => quantile(values, 0.5)

/** Median, and in brackets the quartiles. */
export function spread(values: readonly number[], digits: number): string {
  const [low, middle, high] = [0.25, 0.5, 0.75].map(share => quantile(values, share).toFixed(digits))
  return `${middle} (${low}-${high})`
}
