// Saving a ResNet so that it can be loaded by path: a safetensors file, and a record of what no tensor tells.

import { checkNames } from './base/options.ts'
import { outOfRange } from './errors.ts'
import { writeAtomically } from './files/atomic-file.ts'
import type { Preprocessing } from './image/preprocess.ts'
import type { Activation } from './model/activation.ts'
import { type Architecture, networkOf } from './model/architecture.ts'
import type { Network } from './model/graph.ts'
import { activationKey, architectureKey } from './weights/checkpoint/checkpoint.ts'
import { recordPath } from './weights/checkpoint/record-path.ts'
import { type SaveOptions, saveNetwork, saveOptionNames } from './weights/save.ts'
import {
  type SaveQuantizedOptions,
  saveQuantizedNames,
  saveQuantizedNetwork,
} from './weights/save-quantized.ts'
import type { WeightSource } from './weights/source.ts'

/** The model to save: an {@link OpenModel}, or a network of your own. */
export interface SavedModel {
  readonly architecture: Architecture
  readonly weights: WeightSource
  readonly labels?: readonly string[]
  readonly activation?: Activation
  readonly preprocessing?: Preprocessing
}

/**
 * Writes `path`, which must end in `.safetensors`, and the JSON record of the same name. Each is written completely or not at
 * all; the record comes last.
 *
 * @throws ResidualError whatever reading the weights throws, NON_FINITE for numbers that the dtype cannot represent,
 *   FILE_WRITE_FAILED
 */
export async function saveModel(
  path: string,
  model: SavedModel,
  saveOptions: SaveOptions = {},
): Promise<void> {
  checkNames(saveOptions, saveOptionNames)
  const { folded = false, metadata, ...options } = saveOptions
  await save(path, model, folded, (network, told) =>
    saveNetwork(path, network, model.weights, { ...options, folded, metadata: { ...metadata, ...told } }),
  )
}

/**
 * Writes a quantized model, as {@link saveModel} does: with batch norms folded and the weights of operations in int8 as integers.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH for a quantization that is not of this model, and what {@link saveModel} throws
 */
export async function saveQuantizedModel(
  path: string,
  model: SavedModel,
  saveOptions: SaveQuantizedOptions,
): Promise<void> {
  checkNames(saveOptions, saveQuantizedNames)
  const { metadata, ...options } = saveOptions
  await save(path, model, true, (network, told) =>
    saveQuantizedNetwork(path, network, model.weights, { ...options, metadata: { ...metadata, ...told } }),
  )
}

/** Calls `write` with the network and with what its file is to say of it, then writes the record. */
async function save(
  path: string,
  { architecture, labels, activation, preprocessing }: SavedModel,
  folded: boolean,
  write: (network: Network, told: { readonly [key: string]: string }) => Promise<void>,
): Promise<void> {
  if (!path.endsWith('.safetensors')) throw outOfRange("a name that ends in '.safetensors'", 'path', path)
  const saved = folded ? { ...architecture, epsilon: 0 } : architecture // of the identities that remain
  await write(networkOf(architecture), {
    [architectureKey]: JSON.stringify(saved),
    ...(activation && { [activationKey]: activation }),
  })
  const record = { architecture: saved, labels, activation, preprocessing }
  await writeAtomically(recordPath(path), handle => handle.writeFile(`${JSON.stringify(record, null, 2)}\n`))
}
