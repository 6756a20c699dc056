// Pickles without tensors, recognised where possible: other files that training saves, or whole models.
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import type { Pickle } from './read-pickle.ts'
import { Dict } from './values.ts'

const savePaddle = "paddle.save(model.state_dict(), 'model.pdparams')"
const savePyTorch = "torch.save(model.state_dict(), 'model.pth')"

/** What it is and where the weights are; undefined where nothing tells. */
export function withoutTensors(
  { value, unknown }: Pick<Pickle, 'value' | 'unknown'>,
  { path, format }: ByteSource,
): string | undefined {
  const entries = value instanceof Dict ? value.entries : undefined
  const isPaddles = path.toLowerCase().endsWith('.pdopt') || entries?.has('LR_Scheduler')
  if (isPaddles) return 'it is the state of an optimizer; the weights are in the .pdparams file beside it'
  if (entries?.has('param_groups')) return 'it is the state of an optimizer; the weights are in another file'
  for (const member of entries?.values() ?? [])
    if (member instanceof Dict && member.entries?.has('structured_name'))
      return (
        'it says what the parameters of a program of PaddlePaddle are called, and has none; save the network ' +
        `that it was made of by ${savePaddle}`
      )
  if (unknown.length === 0) return undefined
  const save =
    format === 'Paddle' && !unknown.some(name => /^(torch|timm)/.test(name)) ? savePaddle : savePyTorch
  return (
    `there are no tensors in it, and what it asks for is not called: ${unknown.join(', ')}. ` +
    `If it holds a whole model, save its state_dict() instead: ${save}`
  )
}
