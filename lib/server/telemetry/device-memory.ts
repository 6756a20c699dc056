// GPU memory usage, from nvidia-smi; empty without it.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { GaugeValue } from './gauge-value.ts'

const query = ['--query-gpu=index,name,memory.used', '--format=csv,noheader,nounits']
const timeoutMs = 2000 // a metrics scrape will not wait longer

const freshMs = 1000

/**
 * A function that reads the bytes in use per GPU, by any process: in a container processes cannot be told apart. However often
 * it is called, the tool runs at most once a second.
 */
export function deviceMemoryReader(): () => Promise<GaugeValue[]> {
  let last: Promise<GaugeValue[]> | undefined
  let readAt = 0
  return () => {
    const now = performance.now()
    if (last && now - readAt < freshMs) return last
    readAt = now
    last = deviceMemory()
    return last
  }
}

async function deviceMemory(): Promise<GaugeValue[]> {
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', query, { timeout: timeoutMs })
    return stdout
      .trim()
      .split('\n')
      .map(line => {
        const [index, name, mebibytes] = line.split(', ') as [string, string, string]
        return { labels: { index, name }, value: Number(mebibytes) * 2 ** 20 }
      })
  } catch {
    return []
  }
}
