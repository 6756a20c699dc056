// What a pickle without tensors is, where that can be told: what trainings save beside the weights.
import { Dict, type Value } from './values.ts'

/** What it is and where the weights are; undefined where nothing tells. */
export function withoutTensors(root: Value, path: string): string | undefined {
  const entries = root instanceof Dict ? root.entries : undefined
  const isPaddles = path.toLowerCase().endsWith('.pdopt') || entries?.has('LR_Scheduler')
  if (isPaddles) return 'it is the state of an optimizer; the weights are in the .pdparams file beside it'
  if (entries?.has('param_groups')) return 'it is the state of an optimizer; the weights are in another file'
  for (const member of entries?.values() ?? [])
    if (member instanceof Dict && member.entries?.has('structured_name'))
      return (
        'it says what the parameters of a program of PaddlePaddle are called, and has none; save the network ' +
        "that it was made of by paddle.save(model.state_dict(), 'model.pdparams')"
      )
  return undefined
}
