// The peak resident memory of this process.
import { readFileSync } from 'node:fs'

/** Null except on Linux. getrusage's maxrss is no use: a process inherits it from its parent. */
export function peakBytes(): number | null {
  if (process.platform !== 'linux') return null
  return Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024
}
