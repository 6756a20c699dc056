// The log's output: the lines of one turn of the event loop go to standard output in one write. A write per line took a sixth of
// the event loop's time with requests of one image.
import { writeSync } from 'node:fs'

export interface LogStream {
  write(line: string): void
}

const mostKept = 2 ** 20 // bytes for a reader that is slow; beyond them lines are dropped
const retryMs = 10

/**
 * Writes to a file descriptor. Nothing is kept longer than a turn unless a reader is slow, nor lost when the process exits. A log
 * that cannot be written is no reason not to serve. `format` turns a line of JSON into what is written.
 */
export function logStream(
  format: (line: string) => string = line => line,
  descriptor = process.stdout.fd,
  write: typeof writeSync = writeSync,
): LogStream {
  let kept: Buffer = Buffer.alloc(0)
  let lines = ''
  let waits = false
  const flush = () => {
    waits = false
    process.off('exit', flush)
    kept = Buffer.concat([kept, Buffer.from(lines)])
    lines = ''
    try {
      while (kept.length > 0) kept = kept.subarray(write(descriptor, kept))
    } catch (error) {
      const full = (error as { code?: unknown }).code === 'EAGAIN'
      if (full && kept.length < mostKept) wait(later => setTimeout(later, retryMs).unref())
      else kept = kept.subarray(kept.length) // nobody is left to tell
    }
  }
  const wait = (schedule: (flush: () => void) => void) => {
    if (waits) return
    waits = true
    schedule(flush)
    process.once('exit', flush)
  }
  return {
    write: line => {
      lines += format(line)
      wait(setImmediate)
    },
  }
}
