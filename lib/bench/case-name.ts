// What is one measurement called?

export function caseName({
  network,
  threads,
  batch,
}: {
  readonly network: string
  readonly threads: number
  readonly batch: number
}): string {
  return `${network}, ${threads} thread${threads === 1 ? '' : 's'}, batch ${batch}`
}
