// A model's inputs and outputs under the name that a request uses: all of them under its own name, or one input and one output
// under `NAME:INPUT`, for clients that read the metadata and send every input it lists.
import { inputShape } from '../../model/plan.ts'
import { type LoadedModel, type ServedOutput, servedOutputs } from '../models/served-model.ts'
import type { TensorMetadata } from '../protocol/tensor.ts'
import { inputMetadata, inputNames, type TensorName } from './tensors.ts'

export interface Signature {
  /** A request has one of these. */
  readonly inputs: readonly TensorMetadata[]
  readonly outputs: readonly (TensorMetadata & { readonly name: ServedOutput })[]
}

/** Splits `NAME:INPUT`; undefined for any other name. */
export function splitName(name: string): { readonly model: string; readonly input: TensorName } | undefined {
  const at = name.lastIndexOf(':')
  const input = Object.values(inputNames).find(known => known === name.slice(at + 1))
  return at > 0 && input ? { model: name.slice(0, at), input } : undefined
}

/** The signature of `model` under `name`, by which it was found. */
export function signatureOf({ classifier }: LoadedModel, name: string): Signature {
  const { plan } = classifier.session
  const inputs = inputMetadata(inputShape(plan))
  const outputs = servedOutputs.flatMap(output => {
    const value = plan.outputs[output]
    return value === undefined
      ? []
      : [{ name: output, datatype: 'FP32', shape: [-1, plan.values[value]!.channels] }]
  })
  const only = name === classifier.name ? undefined : splitName(name)?.input
  if (only === undefined) return { inputs, outputs }
  return {
    inputs: inputs.filter(input => input.name === only),
    outputs: outputs.filter(output => output.name === 'probabilities'),
  }
}
