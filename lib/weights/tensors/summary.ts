// Statistics and a histogram of a tensor's numbers.

export interface Summary {
  readonly min: number
  readonly max: number
  readonly mean: number
  readonly std: number
  /** Counts of equal-width bins between `min` and `max`. */
  readonly histogram: readonly number[]
}

/** Summarises at least one number, all finite, in float64. */
export function summarise(values: Float32Array, bins = 16): Summary {
  let [min, max, sum] = [values[0]!, values[0]!, 0]
  for (const value of values) {
    if (value < min) min = value
    if (value > max) max = value
    sum += value
  }
  const mean = sum / values.length
  const histogram = new Array<number>(bins).fill(0)
  const perBin = (max - min) / bins
  let squares = 0
  for (const value of values) {
    squares += (value - mean) ** 2
    const bin = perBin > 0 ? Math.min(bins - 1, Math.floor((value - min) / perBin)) : 0
    histogram[bin]!++
  }
  return { min, max, mean, std: Math.sqrt(squares / values.length), histogram }
}
