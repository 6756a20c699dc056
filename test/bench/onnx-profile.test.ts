import { describe, expect, it } from 'vitest'
import { lastRuns, nodeTimes } from '../../lib/benchmark/onnx-profile.ts'
import { tinyPlan } from '../support/tiny.ts'

const node = (name: string, microseconds: number) => ({
  cat: 'Node',
  name: `${name}_kernel_time`,
  dur: microseconds,
})

describe("the times of onnxruntime's nodes", () => {
  it('are summed by operation', () => {
    const [, conv, , , residual] = tinyPlan.ops
    const events = [
      node(`Conv_v${conv!.dst}`, 2000),
      node(`v${residual!.dst}_0_nchwc`, 1000),
      node(`Relu_v${residual!.dst}`, 200),
      node('ReorderOutput_token_3', 20),
      node('Flatten_logits', 2),
      { cat: 'Session', name: 'SequentialExecutor::Execute', dur: 1e6 },
    ]
    const { ops, rest } = nodeTimes(tinyPlan, events)
    const expected = tinyPlan.ops.map(op => (op === conv ? 2 : op === residual ? 1.2 : 0))
    expect(ops.map(ms => Number(ms.toFixed(6)))).toEqual(expected)
    expect(rest).toBeCloseTo(0.022, 9)
  })

  it('are those of the last run of each round', () => {
    const run = (i: number) => [node('Conv_v1', i), { cat: 'Session', name: 'model_run', dur: 1 }]
    const loading = { cat: 'Session', name: 'model_loading', dur: 1 }
    const events = [loading, ...[1, 2, 3, 4].flatMap(run), node('Conv_v1', 5)]
    expect(lastRuns(events).map(round => round.map(({ dur }) => dur))).toEqual([[2], [4]])
  })

  it('do not confuse values whose numbers start alike', () => {
    const plan = { ...tinyPlan, ops: [1, 11].map(dst => ({ ...tinyPlan.ops[1]!, dst })) }
    expect(nodeTimes(plan, [node('v11_nchwc', 1000), node('Conv_v1', 3000)])).toEqual({
      ops: [3, 1],
      rest: 0,
    })
  })
})
