// Today's share of a list: different entries every day, until all have been tried.

const dayMs = 86_400_000

/** `count` of `all`, those that follow on yesterday's. */
export function ofToday<T>(all: readonly T[], count: number, now: number): T[] {
  const first = Math.floor(now / dayMs) * count
  return Array.from({ length: Math.min(count, all.length) }, (_, i) => all[(first + i) % all.length]!)
}
