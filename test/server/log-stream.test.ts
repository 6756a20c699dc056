import { spawnSync } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { logStream } from '../../lib/server/telemetry/log-stream.ts'

/** A descriptor that takes `room` bytes at a time, or fails with `code` while that is set. */
function descriptor(room = Number.POSITIVE_INFINITY) {
  const state = { writes: [] as string[], code: undefined as string | undefined }
  const write = (_: number, bytes: Uint8Array) => {
    if (state.code) throw Object.assign(new Error(state.code), { code: state.code })
    const taken = bytes.subarray(0, room)
    state.writes.push(Buffer.from(taken).toString())
    return taken.length
  }
  return { state, stream: logStream(line => line, 1, write as never) }
}

const turn = () => new Promise(resolve => setImmediate(() => setImmediate(resolve)))

describe('the log stream', () => {
  it('writes all lines of an event-loop turn at once, and retries what did not fit', async () => {
    const { state, stream } = descriptor()
    for (const line of ['one\n', 'two\n']) stream.write(line)
    expect(state.writes).toEqual([])
    await turn()
    stream.write('three\n')
    await turn()
    expect(state.writes).toEqual(['one\ntwo\n', 'three\n'])
    const narrow = descriptor(5)
    narrow.stream.write('ünïcode\n')
    await turn()
    expect(Buffer.concat(narrow.state.writes.map(text => Buffer.from(text))).length).toBeGreaterThan(8)
    expect(narrow.state.writes.length).toBe(2)
  })

  it('buffers up to a mebibyte for a slow reader, and carries on without one that is gone', async () => {
    const { state, stream } = descriptor()
    state.code = 'EAGAIN'
    stream.write('early\n')
    await turn()
    stream.write('late\n')
    state.code = undefined
    await delay(30)
    expect(state.writes.join('')).toBe('early\nlate\n')
    state.code = 'EAGAIN'
    stream.write('x'.repeat(2 ** 20))
    await turn()
    state.code = 'EPIPE'
    stream.write('y')
    await turn()
    state.code = undefined
    stream.write('z\n')
    await turn()
    expect(state.writes.join('')).toBe('early\nlate\nz\n')
  })

  it('loses nothing when the process exits', () => {
    const module = new URL('../../lib/server/telemetry/log-stream.ts', import.meta.url)
    const script = `import { logStream } from '${module}'; logStream().write('the last\\n'); process.exit(0)`
    const { stdout } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      encoding: 'utf8',
    })
    expect(stdout).toBe('the last\n')
  })
})
