// The name of a benchmark case: network, threads, batch.

export interface CaseSettings {
  readonly network: string
  readonly threads: number
  readonly batch: number
}

export function caseName(settings: CaseSettings): string {
  return `${settings.network}, ${threadsText(settings)}`
}

export function threadsText({ threads, batch }: CaseSettings): string {
  return `${threads} thread${threads === 1 ? '' : 's'}, batch ${batch}`
}
