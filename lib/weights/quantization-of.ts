// The quantization that a checkpoint's file states.
import { parseQuantization, type Quantization, quantizationKey } from '../model/quantization.ts'
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import { invalidCheckpoint } from './checkpoint/checkpoint-error.ts'

/** @throws ResidualError CHECKPOINT_INVALID if the file states one that is malformed */
export function quantizationOf(file: Checkpoint): Quantization | undefined {
  const text = file.metadata.get(quantizationKey)
  if (text === undefined) return undefined
  return parseQuantization(text, (problem, cause) => invalidCheckpoint(file, problem, cause))
}
