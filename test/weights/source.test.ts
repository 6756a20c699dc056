import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Parameter, parametersOf, ResidualError, resnet18 } from '../../lib/index.ts'
import { openSafetensors } from '../../lib/weights/formats/safetensors/open-safetensors.ts'
import { fromSafetensors } from '../../lib/weights/formats/safetensors/source.ts'
import { checkParameters, fromTensors, type Tensor } from '../../lib/weights/source.ts'
import { safetensors, temporaryFolder } from '../support/files.ts'

const wanted: Parameter[] = [
  { name: 'conv.weight', shape: [2, 1, 1, 1], role: 'convWeight' },
  { name: 'bn.weight', shape: [2], role: 'bnWeight' },
  { name: 'bn.bias', shape: [2], role: 'bnBias' },
]

/** Tensors of these shapes. */
const shaped = (shapes: { [name: string]: number[] }) =>
  fromTensors(
    new Map(
      Object.entries(shapes).map(([name, shape]): [string, Tensor] => [
        name,
        { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) },
      ]),
    ),
    'model.safetensors',
  )
const right = { 'conv.weight': [2, 1, 1, 1], 'bn.weight': [2], 'bn.bias': [2] }

/** What checkParameters says. */
function complaint(parameters: readonly Parameter[], shapes: { [name: string]: number[] }): string {
  try {
    checkParameters(parameters, shaped(shapes))
  } catch (error) {
    expect(error).toBeInstanceOf(ResidualError)
    expect(error).toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
    return (error as Error).message
  }
  return 'none'
}

describe('checkParameters', () => {
  it('takes the tensors that are wanted, in any order, and the counters of PyTorch', () => {
    expect(complaint(wanted, right)).toBe('none')
    expect(complaint(wanted, Object.fromEntries(Object.entries(right).reverse()))).toBe('none')
    expect(complaint(wanted, { ...right, 'bn.num_batches_tracked': [] })).toBe('none')
  })

  it('lists all that is missing, too many and of another shape at once', () => {
    const shapes = { 'conv.weight': [2, 1, 3, 3], 'bn.weight': [3], extra: [1], 'extra.too': [] }
    expect(complaint(wanted, shapes)).toBe(
      'model.safetensors does not fit the network: 1 missing (bn.bias); 2 unexpected (extra, extra.too); ' +
        '2 of another shape (conv.weight [2,1,3,3] instead of [2,1,1,1], bn.weight [3] instead of [2]). ' +
        'Check the number of layers, the width and the number of classes.',
    )
  })

  it.each([
    ['more dimensions', [2, 1]],
    ['fewer dimensions', []],
    ['another size', [1]],
  ])('sees %s of a tensor with as many or other numbers', (_, shape) => {
    const message = complaint(wanted, { ...right, 'bn.bias': shape })
    expect(message).toContain(`: 1 of another shape (bn.bias [${shape.join(',')}] instead of [2]).`)
  })

  it('has the whole lists in the cause of the error', () => {
    const parameters = parametersOf(resnet18())
    const shapes = { [parameters[0]!.name]: [1], 'extra.too': [] }
    const check = () => checkParameters(parameters, shaped(shapes))
    expect(check).toThrow(
      expect.objectContaining({
        cause: {
          missing: parameters.slice(1).map(({ name }) => name),
          extra: ['extra.too'],
          misshapen: ['conv1.weight [1] instead of [64,3,7,7]'],
        },
      }),
    )
  })

  it('lists no more than 20 of a kind and counts the others', () => {
    const parameters = parametersOf(resnet18())
    const missing = complaint(parameters, {})
    expect(missing).toContain(`${parameters.length} missing (conv1.weight, bn1.weight`)
    expect(missing).toContain(`${parameters[19]!.name} and ${parameters.length - 20} more). `)
    expect(missing).not.toContain(parameters[20]!.name)
    const extra = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`extra${i}`, [1]]))
    expect(complaint([], extra)).toMatch(/: 20 unexpected \(extra0,.*, extra19\)\. /)
  })
})

describe('fromTensors', () => {
  it('takes no tensors of other numbers than float32', () => {
    for (const data of [new Float64Array(2), new Uint8Array(8), [1, 2]])
      expect(() =>
        fromTensors(new Map([['t', { shape: [2], data: data as unknown as Float32Array }]])),
      ).toThrow(TypeError)
  })

  const tensors = new Map([['t', { shape: [2], data: new Float32Array([1, 2]) }]])

  it('gives names, shapes and copies of the numbers', async () => {
    const source = fromTensors(tensors, 'memory')
    expect(source.description).toBe('memory')
    expect([...source.names()]).toEqual(['t'])
    expect(source.shape('t')).toEqual([2])
    expect(source.shape('u')).toBeUndefined()
    const read = await source.read('t')
    expect(read).toEqual(new Float32Array([1, 2]))
    read[0] = 9
    expect(await source.read('t')).toEqual(new Float32Array([1, 2]))
  })

  it('says which tensor it does not have', async () => {
    await expect(fromTensors(tensors).read('u')).rejects.toMatchObject({
      code: 'TENSOR_NOT_FOUND',
      message: "There is no tensor 'u' in the given tensors.",
    })
  })
})

describe('fromSafetensors', () => {
  it('gives names, shapes and numbers of the file', async () => {
    const path = join(temporaryFolder(), 'model.safetensors')
    const header = { t: { dtype: 'F32', shape: [1, 1], data_offsets: [0, 4] } }
    writeFileSync(path, safetensors(header, [0, 0, 0x40, 0x40]))
    await using file = await openSafetensors(path)
    const source = fromSafetensors(file)
    expect(source.description).toBe(path)
    expect([...source.names()]).toEqual(['t'])
    expect(source.shape('t')).toEqual([1, 1])
    expect(source.shape('u')).toBeUndefined()
    expect(await source.read('t')).toEqual(new Float32Array([3]))
    await expect(source.read('u')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
  })
})
