// The log's output: the lines of one turn of the event loop go to standard output in one write. A write per line took a sixth of
// the event loop's time with requests of one image.
import { writeSync } from 'node:fs'

export interface LogStream {
  write(line: string): void
}

const mostKept = 2 ** 20 // bytes buffered for a slow reader; beyond that, lines are dropped
const retryMs = 10

/**
 * Writes to a file descriptor. Lines are kept no longer than a turn of the event loop unless the reader is slow, and are not
 * lost when the process exits. Failing to write the log never stops the server. `format` turns a line of JSON into the text to
 * write.
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
      else kept = kept.subarray(kept.length) // there is no reader any more
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
