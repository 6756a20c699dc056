// Node times from onnxruntime's own profiler, attributed to the operations of the plan.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Plan } from '../model/plan.ts'
import type { Images } from './engine.ts'
import { type OnnxRuntime, type OnnxSession, onnxTensor } from './onnxruntime.ts'

/** An entry of the file that onnxruntime's profiler writes. */
export interface ProfileEvent {
  readonly cat: string
  readonly name: string
  /** Microseconds. */
  readonly dur: number
}

/** Only the last counts, like the warm-up of {@link Session.profile}. */
const runsPerRound = 2

/** onnxruntime on the folded network, whose nodes are named after the plan's values. */
export class ProfiledOnnxRuntime {
  private constructor(
    private readonly session: OnnxSession,
    /** One round. */
    readonly run: () => Promise<void>,
    private readonly folder: string,
  ) {}

  static async open(
    onnxRuntime: OnnxRuntime,
    model: Uint8Array,
    threads: number,
    images: Images,
  ): Promise<ProfiledOnnxRuntime> {
    const folder = await mkdtemp(join(tmpdir(), 'residual-profile-'))
    const session = await onnxRuntime.InferenceSession.create(model, {
      intraOpNumThreads: threads,
      logSeverityLevel: 3,
      enableProfiling: true,
      profileFilePrefix: join(folder, 'profile'),
    })
    const feeds = { x: onnxTensor(onnxRuntime, images) }
    const run = async () => {
      for (let i = 0; i < runsPerRound; i++) await session.run(feeds, ['logits'])
    }
    return new ProfiledOnnxRuntime(session, run, folder)
  }

  /** The events of the last run of each round so far, in order. Call it once. */
  async rounds(): Promise<ProfileEvent[][]> {
    this.session.endProfiling()
    const [file] = await readdir(this.folder)
    return lastRuns(JSON.parse(await readFile(join(this.folder, file!), 'utf8')))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.release()
    await rm(this.folder, { recursive: true })
  }
}

/** The events of the last run of each round; a run ends with an event of its own. */
export function lastRuns(events: readonly ProfileEvent[]): ProfileEvent[][] {
  const runs: ProfileEvent[][] = [[]]
  for (const event of events)
    if (event.cat === 'Session' && event.name === 'model_run') runs.push([])
    else runs.at(-1)!.push(event)
  runs.pop() // after the end of the last run
  return runs.filter((_, i) => i % runsPerRound === runsPerRound - 1)
}

/**
 * Milliseconds of one run by operation, and of the rest. Nodes are named `Conv_v7`, `v7_0_nchwc` and so on after value `7` of
 * the plan, which they compute in one or several steps.
 */
export function nodeTimes(plan: Plan, events: readonly ProfileEvent[]): { ops: number[]; rest: number } {
  const ops = plan.ops.map(() => 0)
  let rest = 0
  for (const { cat, name, dur } of events) {
    if (cat !== 'Node' || !name.endsWith('_kernel_time')) continue
    const value = /(?:^|_)v(\d+)_/.exec(name)?.[1]
    const op = plan.ops.findIndex(({ dst }) => String(dst) === value)
    if (op === -1) rest += dur / 1000
    else ops[op]! += dur / 1000
  }
  return { ops, rest }
}
