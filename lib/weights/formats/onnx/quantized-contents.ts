// The contents of a quantized ONNX file as a quantized checkpoint's: its tensors, and what is said of how they are computed.
import { quantizationKey, quantizationText } from '../../../model/quantization.ts'
import { unquantizedKey } from '../../checkpoint/checkpoint.ts'
import type { NamedTensor } from './named-tensors.ts'
import { quantizationIn } from './quantization.ts'
import { quantizedTensors } from './quantized-tensors.ts'
import type { Structure } from './structure.ts'
import type { Wire } from './wire.ts'

/** Whether the file quantizes any weights or anything that is multiplied by them. */
export function isQuantized({ convs, classifier }: Structure): boolean {
  return [...convs.values(), classifier].some(({ weight, range }) => weight.dequantized || range)
}

/** Tensors, the epsilon of the identities that batch norms are then, and entries of the metadata. */
export interface QuantizedContents {
  readonly tensors: ReadonlyMap<string, NamedTensor>
  readonly epsilon: 0
  readonly said: readonly (readonly [key: string, text: string])[]
}

/**
 * Operations whose weights or operands the file does not quantize, or not so that int8 arithmetic is possible, are kept in
 * float32, and the metadata tell why.
 */
export function quantizedContents(structure: Structure, wire: Wire): QuantizedContents {
  const { quantization, reasons } = quantizationIn(structure, poolName(structure))
  const names = quantization ? [...structure.convs.keys(), 'fc'] : []
  // The first one takes bytes, by floats.
  const int8 = names.filter((name, i) => i > 0 && !Object.hasOwn(reasons, name))
  const tensors = quantizedTensors(structure, new Set(int8), wire)
  const text = quantization
    ? ([quantizationKey, quantizationText(quantization, { from: 'QDQ ONNX', float32: reasons })] as const)
    : ([unquantizedKey, summary(reasons)] as const)
  return { tensors, epsilon: 0, said: [text] }
}

/**
 * The name that the global average pool has in the network's plan: layers without a name of their own are numbered. Before it are
 * the input, a convolution and a batch norm for each of `convs`, what is before and follows them, and the max pool.
 */
function poolName({ convs, averagedShortcut }: Structure): string {
  let before = 2
  for (const { relu, added, stride } of convs.values()) {
    const isPooled = averagedShortcut && !relu && stride === 2
    before += 2 + Number(relu) + Number(added !== undefined) + Number(isPooled)
  }
  return `globalavgpool${before}`
}

/** Each reason with the number of operations it holds for. */
function summary(reasons: { readonly [op: string]: string }): string {
  const counts = new Map<string, number>()
  for (const reason of Object.values(reasons)) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  return [...counts].map(([reason, count]) => `of ${count} operations ${reason}`).join('; ')
}
