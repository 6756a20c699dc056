// The storages of a PyTorch file, and a check that each tensor fits into its own.
import { activationKey, architectureKey } from '../../checkpoint/checkpoint.ts'
import { invalidCheckpoint, refusedCheckpoint } from '../../checkpoint/checkpoint-error.ts'
import type { ByteSource } from '../../checkpoint/checkpoint-file.ts'
import { factsOf } from '../pickle/modules.ts'
import type { Pickle } from '../pickle/read-pickle.ts'
import { findTensors } from '../pickle/tensors.ts'
import { type FileBytes, Storage, type StoredData } from '../views/stored-data.ts'
import { problemOf, type TensorView } from '../views/tensor-view.ts'
import { ViewCheckpoint } from '../views/view-checkpoint.ts'

/**
 * A checkpoint of a pickle's tensors; `locate` finds their storages.
 *
 * @throws ResidualError CHECKPOINT_INVALID, also if a storage does not have the length that the pickle states
 */
export async function checkpointOf(
  source: ByteSource,
  format: string,
  pickle: Pickle,
  locate: (storage: Storage) => FileBytes | Promise<FileBytes>,
  swapped = false,
): Promise<ViewCheckpoint> {
  const { views, metadata, modules } = findTensors(pickle, source)
  if (modules.length > 0) {
    const { architecture, activation } = factsOf(modules, what => {
      throw refusedCheckpoint(source, `${what}, which no supported ResNet has`)
    })
    metadata.set(architectureKey, JSON.stringify(architecture))
    if (activation) metadata.set(activationKey, activation)
  }
  const ranges = new Map<string, FileBytes>()
  const found = new Map<string, TensorView<StoredData>>()
  for (const [name, view] of views) {
    const { data } = view
    if (!(data instanceof Storage)) found.set(name, view.in(data))
    else {
      const range = ranges.get(data.key) ?? (await locate(data))
      ranges.set(data.key, range)
      const problem = problemOf(view, Math.floor(range.length / view.elementBytes))
      if (problem !== undefined) throw invalidCheckpoint(source, `'${name}' ${problem}`)
      found.set(name, view.in(range, swapped))
    }
  }
  return new ViewCheckpoint(source, format, found, metadata)
}
