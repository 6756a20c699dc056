// Time per operation, compared with the matching nodes of onnxruntime's profile.

import { type Quartiles, quartiles } from '../base/statistics.ts'
import { opCost, type Shape } from '../model/plan.ts'
import type { SessionOptions } from '../runtime/session-options.ts'
import type { CaseSettings } from './case-name.ts'
import { openSession, type RunSettings, type Subject } from './engine.ts'
import { fewestRounds, fmaPeak, settle } from './measure.ts'
import { noiseOf, type Peak } from './noise.ts'
import { nodeTimes, ProfiledOnnxRuntime } from './onnx-profile.ts'
import type { OnnxRuntime } from './onnxruntime.ts'
import { batchOf } from './samples.ts'

/** One operation of the plan, for a whole batch. */
export interface OpResult {
  readonly name: string
  readonly kind: string
  readonly from: Shape | null
  readonly to: Shape
  /** As of `session.algorithms`. */
  readonly algorithm: string | null
  readonly gflop: number
  readonly times: Compared
}

/** The times of both engines for the same work. */
export interface Compared {
  readonly milliseconds: Quartiles
  /** The sum over its nodes; null without onnxruntime, or for an operation that its network does not have. */
  readonly onnxRuntimeMs: Quartiles | null
  /** onnxruntime's time over residual's, per round; null if either has no time for it. */
  readonly ratio: Quartiles | null
}

/** One network, number of threads, batch size and precision, operation by operation. */
export interface OpCase extends CaseSettings {
  /** On these threads. */
  readonly peak: Peak
  readonly rounds: number
  readonly ops: readonly OpResult[]
  /** All operations together; onnxruntime's time includes {@link onnxRuntimeRestMs}. */
  readonly all: Compared
  /** As of {@link Case}. */
  readonly noise: readonly string[]
  /** Time that onnxruntime spent on nodes that belong to no operation (layout changes); null without it. */
  readonly onnxRuntimeRestMs: Quartiles | null
}

export interface OpOptions extends RunSettings {
  readonly batch: number
  readonly seconds: number
  readonly isa: string
  readonly session: SessionOptions
}

export async function opBenchmark(
  subject: Subject,
  onnxRuntime: OnnxRuntime | null,
  { threads, batch, precision, seconds, isa, session: options }: OpOptions,
): Promise<OpCase> {
  const settings = { threads, precision }
  const images = batchOf(subject.plan, subject.samples, 0, batch)
  await using session = await openSession(subject, settings, options)
  const { plan } = session
  const onnxOps = onnxRuntime && precision !== 'bf16' ? await (await subject.in(precision)).onnxOps() : null
  await using peer = onnxOps && (await ProfiledOnnxRuntime.open(onnxRuntime!, onnxOps.file, threads, images))
  const ourRounds: number[][] = [] // milliseconds by operation
  const before = await fmaPeak(isa, settings)
  const end = performance.now() + seconds * 1000
  while (ourRounds.length < fewestRounds || performance.now() < end) {
    await settle()
    await peer?.run()
    await settle()
    const profile = await session.profile(precision === 'int8' ? images.bytes : images.data, { runs: 1 })
    ourRounds.push(profile.map(({ milliseconds }) => milliseconds))
  }
  const peak = { before, after: await fmaPeak(isa, settings) }
  const theirRounds = peer && (await peer.rounds()).map(events => nodeTimes(onnxOps!.plan, events))
  const ops = plan.ops.map((op, i): OpResult => {
    const ours = ourRounds.map(round => round[i]!)
    // onnxruntime converts within other nodes.
    const theirs =
      op.kind === 'convert' ? -1 : (onnxOps?.plan.ops.findIndex(({ name }) => name === op.name) ?? -1)
    return {
      name: op.name,
      kind: op.kind,
      from: op.kind === 'normalize' ? null : plan.values[op.src]!,
      to: plan.values[op.dst]!,
      algorithm: session.algorithms[i]!,
      gflop: (opCost(plan, op).flops * batch) / 1e9,
      times: compared(ours, theirs === -1 ? undefined : theirRounds!.map(({ ops }) => ops[theirs]!)),
    }
  })
  const all = compared(
    ourRounds.map(sum),
    theirRounds?.map(({ ops, rest }) => sum(ops) + rest),
  )
  return {
    network: subject.name,
    ...settings,
    batch,
    peak,
    rounds: ourRounds.length,
    ops,
    all,
    noise: noiseOf(peak, all.ratio ? [{ engine: 'onnxruntime', ratio: all.ratio }] : []),
    onnxRuntimeRestMs: theirRounds && quartiles(theirRounds.map(({ rest }) => rest)),
  }
}

/** Both in the order of the rounds. */
function compared(ours: readonly number[], theirs: readonly number[] | undefined): Compared {
  const both = theirs && [...ours, ...theirs].every(ms => ms > 0)
  return {
    milliseconds: quartiles(ours),
    onnxRuntimeMs: theirs ? quartiles(theirs) : null,
    ratio: both ? quartiles(ours.map((ms, round) => theirs[round]! / ms)) : null,
  }
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
