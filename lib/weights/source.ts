// Weight sources: named tensors from a checkpoint, an initialisation or memory, checked against a network's parameters.
import { types } from 'node:util'
import { outOfRange, ResidualError, wrongType } from '../errors.ts'
import type { Parameter } from '../model/parameters.ts'
import { product } from '../model/product.ts'
import type { Quantization } from '../model/quantization.ts'

/** Named float32 tensors, read one at a time. */
export interface WeightSource {
  /** For messages, such as a path. */
  readonly description: string
  names(): Iterable<string>
  /** Undefined if there is no tensor of that name. */
  shape(name: string): readonly number[] | undefined
  /** How the network is computed in int8, if these are the weights of a quantized model. */
  readonly quantization?: Quantization
  /** The file's own name for it, if that may differ. */
  origin?(name: string): string | undefined
  /**
   * The caller owns the result, which may be `into` if that has the right length. Sources may ignore `into`; using it saves
   * memory. Throws ResidualError TENSOR_NOT_FOUND and whatever the reader throws.
   */
  read(name: string, into?: Float32Array): Promise<Float32Array>
}

/** A tensor in memory, row-major. */
export interface Tensor {
  readonly shape: readonly number[]
  readonly data: Float32Array
}

/**
 * Tensors in memory. They are copied when they are read.
 *
 * @throws TypeError, RangeError if a tensor's data is not a Float32Array of its shape's length
 */
export function fromTensors(
  tensors: ReadonlyMap<string, Tensor>,
  description = 'the given tensors',
): WeightSource {
  for (const [name, { shape, data }] of tensors) {
    if (!types.isFloat32Array(data)) throw wrongType('a Float32Array', `the data of '${name}'`, data)
    const length = product(shape)
    if (data.length !== length) throw outOfRange(`${length} values`, `the data of '${name}'`, data.length)
  }
  return {
    description,
    names: () => tensors.keys(),
    shape: name => tensors.get(name)?.shape,
    read: async name => {
      const tensor = tensors.get(name)
      if (!tensor) throw tensorNotFound(name, description)
      return tensor.data.slice()
    },
  }
}

export function tensorNotFound(name: string, where: string): ResidualError {
  return new ResidualError('TENSOR_NOT_FOUND', `There is no tensor '${name}' in ${where}.`)
}

const listed = 20 // names of each kind in a message

/**
 * Checks that `source` has exactly the tensors a network needs. PyTorch's counters `*.num_batches_tracked` are allowed.
 *
 * @throws ResidualError CHECKPOINT_MISMATCH naming missing and unexpected tensors and those of the wrong shape: up to 20 of each
 *   in the message, all in its `cause`, `{missing, extra, misshapen}`
 */
export function checkParameters(parameters: readonly Parameter[], source: WeightSource): void {
  const wanted = new Set(parameters.map(({ name }) => name))
  const shown = (name: string) => {
    const origin = source.origin?.(name) ?? name
    return origin === name ? name : `${name} (in the file: ${origin})`
  }
  const missing = parameters
    .filter(({ name }) => source.shape(name) === undefined)
    .map(({ name }) => shown(name))
  const extra = [...source.names()].filter(name => !wanted.has(name) && !name.endsWith('num_batches_tracked'))
  const misshapen = parameters.flatMap(({ name, shape }) => {
    const found = source.shape(name)
    if (found === undefined || (found.length === shape.length && found.every((n, i) => n === shape[i])))
      return []
    return [`${shown(name)} [${found.join(',')}] instead of [${shape.join(',')}]`]
  })
  if (missing.length + extra.length + misshapen.length === 0) return
  const parts = [list('missing', missing), list('unexpected', extra), list('of another shape', misshapen)]
  throw new ResidualError(
    'CHECKPOINT_MISMATCH',
    `${source.description} does not fit the network: ${parts.filter(Boolean).join('; ')}. ` +
      'Check the number of layers, the width and the number of classes.',
    { cause: { missing, extra, misshapen } },
  )
}

function list(kind: string, items: readonly string[]): string {
  if (items.length === 0) return ''
  const more = items.length > listed ? ` and ${items.length - listed} more` : ''
  return `${items.length} ${kind} (${items.slice(0, listed).join(', ')}${more})`
}
