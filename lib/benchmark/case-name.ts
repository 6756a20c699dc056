// The name of a benchmark case: network, threads, batch, precision.
import type { BenchPrecision } from './engine.ts'

export interface CaseSettings {
  readonly network: string
  readonly threads: number
  readonly batch: number
  readonly precision: BenchPrecision
}

export function caseName(settings: CaseSettings): string {
  return `${settings.network}, ${threadsText(settings)}`
}

/** fp32 goes without saying. */
export function threadsText({ threads, batch, precision }: CaseSettings): string {
  const suffix = precision === 'fp32' ? '' : `, ${precision}`
  return `${threads} thread${threads === 1 ? '' : 's'}, batch ${batch}${suffix}`
}
