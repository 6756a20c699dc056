// The fuzzing harness: a reader must survive whatever it is given, without a crash, a hang, or memory beyond the file's, and with
// errors only if they have a code.
import { ResidualError } from '../../lib/errors.ts'
import { seeded } from '../support/files.ts'
import { mutate } from './mutate.ts'

/** A reader under test. */
export interface FuzzTarget {
  readonly name: string
  /** Well-formed files, of a few kilobytes at most. */
  seeds(): Promise<readonly Buffer[]>
  /** Opens such a file, reads everything in it, and closes it. */
  open(bytes: Buffer): Promise<void>
}

export interface FuzzReport {
  readonly files: number
  /** How many were taken for well-formed: damage to a number in the data is none to the file. */
  readonly accepted: number
  readonly worstMs: number
  /** Bytes one file allocated outside the heap. */
  readonly worstBytes: number
  readonly failures: readonly Failure[]
}

export interface Failure {
  readonly file: number
  readonly problem: string
  readonly bytes: Buffer
}

// A machine may stand still for seconds, or have other work: what counts is how long this process worked, all its threads. Waiting
// is allowed ten times as long.
const maxMs = 1000
const maxWaitedMs = 10_000
/** What readers may take whatever the file: windows, pieces, tables. Beyond it, a file's size times the factor. */
const baseBytes = 12 << 20
const factor = 16

/** Opens `files` damaged files. The same for the same seed. */
export async function fuzz(target: FuzzTarget, files: number, seed = 1): Promise<FuzzReport> {
  const random = seeded(seed)
  const seeds = await target.seeds()
  const failures: Failure[] = []
  let [accepted, worstMs, worstBytes] = [0, 0, 0]
  for (const bytes of seeds) await target.open(bytes) // a seed that is refused fuzzes nothing
  for (let file = 0; file < files && failures.length < 10; file++) {
    const bytes = mutate(seeds, random)
    let problem: string | undefined
    const meter = new AllocationMeter()
    let ms = await timed(async () => {
      try {
        await target.open(Buffer.from(bytes))
        accepted++
      } catch (error) {
        if (!(error instanceof ResidualError)) problem = `threw ${(error as Error)?.stack ?? error}`
      }
    })
    const taken = meter.stop()
    // Collecting garbage is work, too: only what is slow again is.
    if (ms > maxMs)
      ms = Math.min(ms, await timed(() => target.open(Buffer.from(bytes)).catch(() => undefined)))
    if (ms > maxMs) problem = `took ${Math.round(ms)} ms`
    if (taken > baseBytes + factor * bytes.length)
      problem = `asked for ${taken} bytes, having ${bytes.length}`
    worstMs = Math.max(worstMs, ms)
    worstBytes = Math.max(worstBytes, taken)
    if (problem !== undefined) failures.push({ file, problem, bytes })
  }
  return { files, accepted, worstMs, worstBytes, failures }
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const [start, before] = [performance.now(), process.cpuUsage()]
  await run()
  const waited = performance.now() - start
  const { user, system } = process.cpuUsage(before)
  return waited > maxWaitedMs ? waited : Math.min(waited, (user + system) / 1000)
}

const constructors = ['ArrayBuffer', 'Uint8Array', 'Uint16Array', 'Float32Array', 'Float64Array'] as const

/** Counts allocations in typed arrays and buffers, even if never touched, so that the system has not provided it yet. */
class AllocationMeter {
  #bytes = 0
  readonly #restore: (() => void)[] = []

  constructor() {
    const count = (bytes: number) => {
      this.#bytes += bytes
    }
    for (const name of constructors) {
      const Original = globalThis[name] as unknown as new (...args: unknown[]) => { byteLength: number }
      const size = (Original as unknown as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1
      this.#replace(
        globalThis,
        name,
        new Proxy(Original, {
          construct(original, args, newTarget) {
            if (typeof args[0] === 'number') count(args[0] * size)
            return Reflect.construct(original, args, newTarget === original ? original : newTarget)
          },
        }),
      )
    }
    for (const name of ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const) {
      const original = Buffer[name] as (size: number, ...rest: unknown[]) => Buffer
      this.#replace(Buffer, name, (length: number, ...rest: unknown[]) => {
        count(length)
        return original.call(Buffer, length, ...rest)
      })
    }
  }

  stop(): number {
    for (const restore of this.#restore) restore()
    return this.#bytes
  }

  #replace(object: object, name: string, value: unknown): void {
    const original = Reflect.get(object, name)
    Reflect.set(object, name, value)
    this.#restore.push(() => Reflect.set(object, name, original))
  }
}
