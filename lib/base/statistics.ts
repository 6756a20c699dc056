// Quantiles of measurements.

/** The value that `share` of the values are below, between the two nearest where it falls between them. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const position = share * (sorted.length - 1)
  const below = Math.floor(position)
  const [low, high] = [sorted[below]!, sorted[Math.ceil(position)]!]
  return low + (high - low) * (position - below)
}

export const median = (values: readonly number[]) => quantile(values, 0.5)

export interface Quartiles {
  readonly low: number
  readonly median: number
  readonly high: number
}

export function quartiles(values: readonly number[]): Quartiles {
  return { low: quantile(values, 0.25), median: median(values), high: quantile(values, 0.75) }
}

/** Median, and in brackets the quartiles. */
export function quartilesText({ low, median, high }: Quartiles, digits: number): string {
  return `${median.toFixed(digits)} (${low.toFixed(digits)}-${high.toFixed(digits)})`
}
