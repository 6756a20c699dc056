// A safetensors file as a source of weights.

import type { WeightSource } from '../../source.ts'
import { keepStored } from '../../stored-source.ts'
import type { Safetensors } from './open-safetensors.ts'

export function fromSafetensors(file: Safetensors): WeightSource {
  const source: WeightSource = {
    description: file.path,
    names: () => file.tensors.keys(),
    shape: name => file.tensors.get(name)?.shape,
    read: (name, into) => file.read(name, into),
  }
  keepStored(source, { file, locate: name => ({ name, layout: 'KCRS' }) })
  return source
}
