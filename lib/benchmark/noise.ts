// Detection of disturbed measurements, and the thresholds for it.
import type { Quartiles } from '../base/statistics.ts'

/** The largest spread between the quartiles of the ratio, round by round, as a share of the median. */
export const mostRatioSpread = 0.1
/** The largest change of the FMA peak during a measurement, as a share of the larger value. */
export const mostPeakDrift = 0.05

/** GFLOP/s of multiply-adds in registers, before and after a measurement. */
export interface Peak {
  readonly before: number
  readonly after: number
}

/** Reasons why the measurement is noisy, a sentence each; empty if it is not. */
export function noiseOf(
  peak: Peak,
  ratios: readonly { readonly engine: string; readonly ratio: Quartiles }[],
): string[] {
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`
  const reasons: string[] = []
  const drift = Math.abs(peak.after - peak.before) / Math.max(peak.after, peak.before)
  if (drift > mostPeakDrift)
    reasons.push(
      `the FMA peak went from ${peak.before.toFixed(0)} to ${peak.after.toFixed(0)} GFLOP/s ` +
        `(more than ${percent(mostPeakDrift)})`,
    )
  for (const { engine, ratio } of ratios) {
    const spread = (ratio.high - ratio.low) / ratio.median
    if (spread > mostRatioSpread)
      reasons.push(
        `the quartiles of the ratio to ${engine} are ${percent(spread)} apart (more than ${percent(mostRatioSpread)})`,
      )
  }
  return reasons
}
