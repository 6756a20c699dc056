// Tensor elements sent as numbers or text, converted to the bytes of the binary format.
import { types } from 'node:util'
import { ResidualError } from '../../errors.ts'
import { product } from '../../model/product.ts'
import type { InputTensor } from './tensor.ts'

export const invalid = (message: string) => new ResidualError('REQUEST_INVALID', message)

export const wrongSize = ({ name, shape }: InputTensor, found: string) =>
  invalid(`The input '${name}' of shape [${shape}] has ${found}.`)

/**
 * Reads `values`, flat or nested like the shape, of a supported datatype; others are left empty.
 *
 * @throws ResidualError REQUEST_INVALID
 */
export function readValues(
  input: InputTensor,
  values: readonly unknown[],
): Pick<InputTensor, 'raw' | 'elements'> {
  const { name, datatype, shape } = input
  switch (datatype) {
    case 'UINT8': {
      const pixels = new Uint8Array(product(shape))
      fill(input, values, (value, at) => {
        if (!(Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 255))
          throw invalid(`Element ${at} of the input '${name}' must be an integer from 0 to 255.`)
        pixels[at] = value as number
      })
      return { raw: pixels }
    }
    case 'FP32': {
      const floats = new Float32Array(product(shape))
      fill(input, values, (value, at) => {
        floats[at] = typeof value === 'number' ? value : Number.NaN // refused later, like every other NaN
      })
      return { raw: new Uint8Array(floats.buffer) }
    }
    default: {
      const elements: Uint8Array[] = []
      if (datatype !== 'BYTES') return { elements }
      fill(input, values, (value, at) => {
        const bytes = types.isUint8Array(value) ? value : fromBase64(value)
        if (!bytes) throw invalid(`Element ${at} of the input '${name}' must be a base64 string.`)
        elements.push(bytes)
      })
      return { elements }
    }
  }
}

const notBase64 = /[^A-Za-z0-9+/]/ // a pattern for the whole text would need a stack as deep as the text is long

function fromBase64(value: unknown): Uint8Array | undefined {
  if (typeof value !== 'string' || value.length % 4 !== 0) return undefined
  return notBase64.test(value.replace(/={1,2}$/, '')) ? undefined : Buffer.from(value, 'base64')
}

/** Calls `set` with every value of a flat or nested tensor and its row-major index. */
function fill(
  input: InputTensor,
  values: readonly unknown[],
  set: (value: unknown, at: number) => void,
): void {
  const { shape } = input
  let at = 0
  const visit = (list: readonly unknown[], axis: number): void => {
    if (list.length !== shape[axis])
      throw wrongSize(input, `a list of ${list.length} where its shape says ${shape[axis]}`)
    if (axis === shape.length - 1) for (const value of list) set(value, at++)
    else
      for (const inner of list) {
        if (!Array.isArray(inner))
          throw wrongSize(input, 'values that are neither flat nor nested like its shape')
        visit(inner, axis + 1)
      }
  }
  if (shape.length > 1 && !Array.isArray(values[0])) {
    if (values.length !== product(shape)) throw wrongSize(input, `${values.length} values`)
    for (const value of values) set(value, at++)
  } else visit(values, 0)
}
