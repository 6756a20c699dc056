// Pickles without tensors, recognised where possible: other files that training saves, or whole models.
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import type { Pickle } from './read-pickle.ts'
import { Dict } from './values.ts'

const savePaddle = "paddle.save(model.state_dict(), 'model.pdparams')"
const savePyTorch = "torch.save(model.state_dict(), 'model.pth')"

/** What it is and where the weights are; undefined if unknown. */
export function withoutTensors(
  { value, unknown }: Pick<Pickle, 'value' | 'unknown'>,
  { path, format }: ByteSource,
): string | undefined {
  const entries = value instanceof Dict ? value.entries : undefined
  const isPaddles = path.toLowerCase().endsWith('.pdopt') || entries?.has('LR_Scheduler')
  if (isPaddles) return 'it is the state of an optimizer; the weights are in the .pdparams file next to it'
  if (entries?.has('param_groups')) return 'it is the state of an optimizer; the weights are in another file'
  for (const member of entries?.values() ?? [])
    if (member instanceof Dict && member.entries?.has('structured_name'))
      return (
        'it holds the names of the parameters of a PaddlePaddle program, but not the parameters; save the original network ' +
        `with ${savePaddle}`
      )
  if (unknown.length === 0) return undefined
  const save =
    format === 'Paddle' && !unknown.some(name => /^(torch|timm)/.test(name)) ? savePaddle : savePyTorch
  return (
    `it contains no tensors, and the functions it names are not called: ${unknown.join(', ')}. ` +
    `If it holds a whole model, save its state_dict() instead: ${save}`
  )
}
