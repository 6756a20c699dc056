// The peak resident memory of this process.
import { readFileSync } from 'node:fs'

/** Null elsewhere than on Linux. getrusage's maxrss would not do: a process inherits it from the one that started it. */
export function peakBytes(): number | null {
  if (process.platform !== 'linux') return null
  return Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024
}
