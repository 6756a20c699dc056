// Where does the time go? Each operation's, next to what onnxruntime's own profiler says of the nodes that do the same.
import { opCost, type Shape } from '../model/plan.ts'
import type { SessionOptions } from '../runtime/session-options.ts'
import { median, quartiles } from '../statistics.ts'
import type { CaseSettings } from './case-name.ts'
import { openSession, type Subject, timed } from './engine.ts'
import { fewestRounds, fmaPeak, settle } from './measure.ts'
import { noiseOf, type Peak } from './noise.ts'
import { nodeTimes, ProfiledOnnxRuntime } from './onnx-profile.ts'
import type { OnnxRuntime } from './onnxruntime.ts'
import { picturesFor } from './subject.ts'

/** One operation of the plan, for a whole batch. */
export interface OpResult {
  readonly name: string
  readonly kind: string
  readonly from: Shape | null
  readonly to: Shape
  /** As of `session.algorithms`. */
  readonly algorithm: string | null
  readonly gflop: number
  readonly milliseconds: number
  /** The sum over the nodes it is made of there; null without onnxruntime. */
  readonly onnxRuntimeMs: number | null
}

/** One network, number of threads and batch size, operation by operation. */
export interface OpCase extends CaseSettings {
  /** On these threads. */
  readonly peak: Peak
  readonly rounds: number
  readonly ops: readonly OpResult[]
  /** As of {@link Case}. */
  readonly noise: readonly string[]
  /** What onnxruntime spent on nodes that are none of the operations (turning its layout); null without it. */
  readonly onnxRuntimeRestMs: number | null
}

export interface OpOptions {
  readonly threads: number
  readonly batch: number
  readonly seconds: number
  readonly isa: string
  readonly session: SessionOptions
}

export async function opBenchmark(
  subject: Subject,
  onnxRuntime: OnnxRuntime | null,
  { threads, batch, seconds, isa, session: options }: OpOptions,
): Promise<OpCase> {
  const { plan } = subject
  const pictures = picturesFor(plan, batch)
  await using session = await openSession(subject, { ...options, threads })
  await using peer = onnxRuntime && (await ProfiledOnnxRuntime.open(onnxRuntime, subject, threads, pictures))
  const times: number[][] = plan.ops.map(() => [])
  const ratios: number[] = [] // of whole rounds: whether the machine was quiet
  const before = await fmaPeak(isa, threads)
  const end = performance.now() + seconds * 1000
  let rounds = 0
  for (; rounds < fewestRounds || performance.now() < end; rounds++) {
    await settle()
    const theirMs = peer && (await timed(peer.run))
    await settle()
    const ourMs = await timed(async () => {
      const profile = await session.profile(pictures.data, { runs: 1 })
      for (const [op, { milliseconds }] of profile.entries()) times[op]!.push(milliseconds)
    })
    if (theirMs !== null) ratios.push(theirMs / ourMs)
  }
  const peak = { before, after: await fmaPeak(isa, threads) }
  const theirs = peer && nodeTimes(plan, await peer.events())
  const ops = plan.ops.map(
    (op, i): OpResult => ({
      name: op.name,
      kind: op.kind,
      from: op.kind === 'normalize' ? null : plan.values[op.src]!,
      to: plan.values[op.dst]!,
      algorithm: session.algorithms[i]!,
      gflop: (opCost(plan, op).flops * batch) / 1e9,
      milliseconds: median(times[i]!),
      onnxRuntimeMs: theirs?.ops[i] ?? null,
    }),
  )
  return {
    network: subject.name,
    threads,
    batch,
    peak,
    rounds,
    ops,
    noise: noiseOf(peak, peer ? [{ engine: 'onnxruntime', ratio: quartiles(ratios) }] : []),
    onnxRuntimeRestMs: theirs?.rest ?? null,
  }
}
