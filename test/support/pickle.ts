// Writes pickles opcode by opcode: https://docs.python.org/3/library/pickletools.html

export type Part = string | Uint8Array | number

/** Opcodes as characters of one byte each, bytes as they are, and numbers as single bytes. */
export function ops(...parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map(part =>
      typeof part === 'string'
        ? Buffer.from(part, 'latin1')
        : typeof part === 'number'
          ? Buffer.of(part)
          : part,
    ),
  )
}

/** A whole pickle of protocol 2. */
export const pickle = (...parts: readonly Part[]): Buffer => ops('\x80\x02', ...parts, '.')

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

export function uint64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

export function str(text: string): Buffer {
  const bytes = Buffer.from(text)
  return ops('X', uint32(bytes.length), bytes)
}

/** Of protocol 3 and later. */
export const bin = (bytes: Uint8Array): Buffer => ops('B', uint32(bytes.length), bytes)

export const int = (value: number): Buffer => ops('J', uint32(value >>> 0))
export const tuple = (...members: readonly Part[]): Buffer => ops('(', ...members, 't')
export const list = (...members: readonly Part[]): Buffer => ops(']', '(', ...members, 'e')
export const ints = (values: readonly number[]): Buffer => tuple(...values.map(int))
export const global = (module: string, name: string): Buffer => ops(`c${module}\n${name}\n`)
export const call = (callable: Part, ...args: readonly Part[]): Buffer => ops(callable, tuple(...args), 'R')

export function dict(entries: Readonly<Record<string, Part>>): Buffer {
  return ops('}', '(', ...Object.entries(entries).flatMap(([key, value]) => [str(key), value]), 'u')
}

export interface TorchTensor {
  readonly key: string
  readonly numbers: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]
  readonly offset?: number
  readonly type?: string
}

export function torchStorage({ key, numbers, type = 'FloatStorage' }: TorchTensor, plain = false): Buffer {
  const view = plain ? ['N'] : [] // older files have one more member
  return ops(tuple(str('storage'), global('torch', type), str(key), str('cpu'), int(numbers), ...view), 'Q')
}

export function torchTensor(tensor: TorchTensor, plain = false): Buffer {
  const { shape, strides, offset = 0 } = tensor
  const hooks = call(global('collections', 'OrderedDict'))
  return call(
    global('torch._utils', '_rebuild_tensor_v2'),
    torchStorage(tensor, plain),
    int(offset),
    ints(shape),
    ints(strides),
    '\x89',
    hooks,
  )
}

/** numpy's type of the code, `f4` say, in the byte order. */
export function numpyType(code: string, order = '<'): Buffer {
  const state = tuple(int(3), str(order), 'N', 'N', 'N', int(-1), int(-1), int(0))
  return ops(call(global('numpy', 'dtype'), str(code), '\x89', '\x88'), state, 'b')
}

export function numpyArray(shape: readonly number[], type: Part, data: Part, columnMajor = false): Buffer {
  const empty = call(
    global('numpy.core.multiarray', '_reconstruct'),
    global('numpy', 'ndarray'),
    ints([0]),
    bin(Buffer.from('b')),
  )
  return ops(empty, tuple(int(1), ints(shape), type, columnMajor ? '\x88' : '\x89', data), 'b')
}

/** What protocol 2 has for bytes. */
export const encoded = (bytes: Uint8Array): Buffer =>
  call(global('_codecs', 'encode'), str(Buffer.from(bytes).toString('latin1')), str('latin1'))

export const float32 = (...values: readonly number[]): Buffer => Buffer.from(new Float32Array(values).buffer)
