// Quantiles of measurements.

/** The quantile below which `share` of the values lie, interpolated between the two nearest. */
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

/** The median, with the quartiles in brackets. */
export function quartilesText({ low, median, high }: Quartiles, digits: number): string {
  return `${median.toFixed(digits)} (${low.toFixed(digits)}-${high.toFixed(digits)})`
}
