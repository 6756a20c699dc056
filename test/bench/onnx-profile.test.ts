import { describe, expect, it } from 'vitest'
import { nodeTimes } from '../../lib/bench/onnx-profile.ts'
import { tinyPlan } from '../support/tiny.ts'

const node = (name: string, microseconds: number) => ({
  cat: 'Node',
  name: `${name}_kernel_time`,
  dur: microseconds,
})

describe("the times of onnxruntime's nodes", () => {
  it('are added up by the operation that they are steps of, medians over the runs', () => {
    const [, conv, , , residual] = tinyPlan.ops
    const events = [1, 2, 9].flatMap(run => [
      node(`Conv_v${conv!.dst}`, 1000 * run),
      node(`v${residual!.dst}_0_nchwc`, 500 * run),
      node(`Relu_v${residual!.dst}`, 100 * run),
      node('ReorderOutput_token_3', 10 * run),
      node('Flatten_logits', 1 * run),
      { cat: 'Session', name: 'model_run', dur: 1e6 },
    ])
    const { ops, rest } = nodeTimes(tinyPlan, events)
    const expected = tinyPlan.ops.map(op => (op === conv ? 2 : op === residual ? 1.2 : 0))
    expect(ops.map(ms => Number(ms.toFixed(6)))).toEqual(expected)
    expect(rest).toBeCloseTo(0.022, 9)
  })

  it('do not mix up values whose numbers begin alike', () => {
    const plan = { ...tinyPlan, ops: [1, 11].map(dst => ({ ...tinyPlan.ops[1]!, dst })) }
    expect(nodeTimes(plan, [node('v11_nchwc', 1000), node('Conv_v1', 3000)])).toEqual({
      ops: [3, 1],
      rest: 0,
    })
  })
})
