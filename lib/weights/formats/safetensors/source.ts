// A safetensors file as a source of weights.

import { quantizationOf } from '../../quantization-of.ts'
import type { WeightSource } from '../../source.ts'
import { keepStored } from '../../stored-source.ts'
import type { Safetensors } from './open-safetensors.ts'

/** @throws ResidualError CHECKPOINT_INVALID if the file states a malformed quantization */
export function fromSafetensors(file: Safetensors): WeightSource {
  const quantization = quantizationOf(file)
  const source: WeightSource = {
    description: file.path,
    ...(quantization && { quantization }),
    names: () => file.tensors.keys(),
    shape: name => file.tensors.get(name)?.shape,
    read: (name, into) => file.read(name, into),
  }
  keepStored(source, { file, locate: name => ({ name, layout: 'KCRS' }) })
  return source
}
