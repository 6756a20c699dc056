// Timing in rounds: every engine once per round, in the same order, each alone on the machine.
import { loadNative, translateError } from '../runtime/native.ts'
import type { RunSettings } from './engine.ts'

/** The threads of onnxruntime and OpenMP keep spinning after a run, and the next engine would share the cores with them. */
export const settle = () => new Promise(resolve => setTimeout(resolve, 60))

const warmUpRounds = 1
export const fewestRounds = 5 // not counting the warm-up: fewer have no quartiles

/**
 * Milliseconds by engine and round, for at least so many seconds. In its turn an engine runs twice and only the second run
 * counts, because the other engines have emptied the caches.
 */
export async function inRounds(
  runs: readonly (() => Promise<number>)[],
  seconds: number,
): Promise<number[][]> {
  const times: number[][] = runs.map(() => [])
  const end = performance.now() + seconds * 1000
  for (let round = -warmUpRounds; round < fewestRounds || performance.now() < end; round++)
    for (const [i, run] of runs.entries()) {
      await settle()
      await run()
      const milliseconds = await run()
      if (round >= 0) times[i]!.push(milliseconds)
    }
  return times
}

const peakBursts = 5 // the best is the peak: disturbances only lower it
const peakBurstMs = 40

/**
 * GFLOP/s of multiply-adds in registers on so many threads, as the kernels do them that residual has for a precision with an
 * instruction set and what that includes; '' for the best.
 */
export async function fmaPeak(isa: string, { threads, precision }: RunSettings): Promise<number> {
  await settle()
  try {
    let best = 0
    for (let i = 0; i < peakBursts; i++)
      best = Math.max(best, await loadNative().multiplyAddRate(isa, precision, threads, peakBurstMs))
    return best / 1e9
  } catch (error) {
    throw translateError(error)
  }
}
