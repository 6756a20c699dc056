// `residual inspect`: describe the contents of a checkpoint.

import { stat } from 'node:fs/promises'
import { ResidualError } from '../../errors.ts'
import { findModel, type ModelFile } from '../../model-record.ts'
import { type ModelOptions, understand } from '../../open-model.ts'
import { sha256Of } from '../../registry/verify.ts'
import { type Checkpoint, unquantizedKey } from '../../weights/checkpoint/checkpoint.ts'
import { openCheckpoint } from '../../weights/formats/open.ts'
import { isFloatType } from '../../weights/tensors/stored-type.ts'
import { summarise } from '../../weights/tensors/summary.ts'
import { type ModelArguments, modelOptionsOf } from '../options/model-options.ts'
import { sayAll, sayJson } from '../terminal/print.ts'
import type { Inspection, TensorStats } from './inspection.ts'
import { inspectionText } from './inspection-text.ts'

export interface InspectArguments extends ModelArguments {
  readonly stats?: boolean
  readonly json?: boolean
}

/** Resolves to 1 if the file does not hold a supported network. */
export async function inspect(model: string, options: InspectArguments): Promise<number> {
  const { stats, json } = options
  const found = findModel(model)
  const { path } = found
  await using file = await openCheckpoint(path)
  const inspection: Inspection = {
    path,
    format: file.format,
    bytes: (await stat(path)).size,
    sha256: await sha256Of(path),
    metadata: Object.fromEntries(file.metadata),
    tensors: byType(file),
    network: await networkIn(found, file, modelOptionsOf(options)),
    ...(stats && { stats: await statsOf(file) }),
  }
  json ? sayJson(inspection) : sayAll(inspectionText(inspection))
  return 'problem' in inspection.network ? 1 : 0
}

function byType({ tensors }: Checkpoint): Inspection['tensors'] {
  const types: { [dtype: string]: { tensors: number; numbers: number } } = {}
  for (const { dtype, length } of tensors.values()) {
    types[dtype] ??= { tensors: 0, numbers: 0 }
    types[dtype].tensors++
    types[dtype].numbers += length
  }
  return types
}

async function networkIn(
  found: ModelFile,
  file: Checkpoint,
  options: ModelOptions,
): Promise<Inspection['network']> {
  try {
    const model = await understand(found, file, options)
    const { scheme, prefix, architecture, labels, labelsFrom, activation, preprocessing } = model
    const { quantization } = model.weights
    const unquantized = file.metadata.get(unquantizedKey)
    return {
      ...{ scheme: scheme.name, prefix, architecture, labels, labelsFrom, activation, preprocessing },
      ...(quantization && { kept: quantization.kept }),
      ...(unquantized !== undefined && { unquantized }),
    }
  } catch (error) {
    if (!(error instanceof ResidualError)) throw error
    return { problem: error.message, code: error.code }
  }
}

async function statsOf(file: Checkpoint): Promise<TensorStats[]> {
  const result: TensorStats[] = []
  for (const [name, { dtype, shape, length }] of file.tensors)
    if (length > 0 && (isFloatType(dtype) || (await file.readIntegers?.(name))))
      result.push({ name, dtype, shape, ...summarise(await file.read(name)) })
  return result
}
