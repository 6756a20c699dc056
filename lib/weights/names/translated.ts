// A file of any naming scheme as tensors with our names, in our layout.
import { ResidualError } from '../../errors.ts'
import { product } from '../../model/product.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { quantizationOf } from '../quantization-of.ts'
import { tensorNotFound, type WeightSource } from '../source.ts'
import { keepStored } from '../stored-source.ts'
import { isOfTraining } from './extra-tensors.ts'
import { nameAt, placeOf, type TensorRole } from './name-mapping.ts'
import type { Scheme, TensorNames } from './scheme.ts'

/** The sources of one of our tensors: names in the file, including the prefix. */
interface Recipe {
  readonly part: TensorRole
  /** Undefined if the scheme has no such tensor: the batch norm is then the identity, as wide as `conv`. */
  readonly own: string | undefined
  readonly conv: string | undefined
  /** For a mean: the bias that the preceding convolution adds, to be subtracted from it. */
  readonly bias: string | undefined
  readonly factor: string | undefined
  /** Whether the file has output channels last. */
  readonly turned: boolean
}

const identity: { readonly [part in TensorRole]?: number } = { gamma: 1, beta: 0, mean: 0, variance: 1 }

/**
 * The tensors with `prefix` in a file of `scheme`. Any name may be read; `names()` lists those of `ours`, the names a network
 * needs, as far as the file has them, followed by the file's unused tensors under their own names.
 *
 * @throws ResidualError CHECKPOINT_INVALID if the file states a malformed quantization
 */
export function translate(
  file: Checkpoint,
  scheme: Scheme,
  prefix: string,
  ours: readonly string[] = [],
): WeightSource {
  const recipes = new Map<string, Recipe | undefined>()
  const recipeOf = (name: string) => {
    if (!recipes.has(name)) recipes.set(name, makeRecipe(file, scheme, prefix, name))
    return recipes.get(name)
  }
  const shape = (name: string) => {
    const recipe = recipeOf(name)
    return recipe && shapeOf(recipe, file)
  }
  const quantization = quantizationOf(file)
  const source: WeightSource = {
    description: file.path,
    ...(quantization && { quantization }),
    names: () => {
      const found = ours.filter(name => shape(name) !== undefined)
      const used = new Set(found.map(recipeOf).flatMap(recipe => [recipe!.own, recipe!.bias, recipe!.factor]))
      const others = [...file.tensors.keys()].filter(
        name => name.startsWith(prefix) && !used.has(name) && !isOfTraining(name),
      )
      return [...found, ...others]
    },
    shape,
    origin: name => recipeOf(name)?.own,
    read: async (name, into) => {
      const recipe = recipeOf(name)
      const wanted = shape(name)
      if (!recipe || !wanted) throw tensorNotFound(name, file.path)
      return make(recipe, wanted, file, into)
    },
  }
  keepStored(source, {
    file,
    locate: name => {
      const { own, bias, factor, turned } = recipeOf(name) ?? {}
      return own === undefined || bias || factor ? undefined : { name: own, layout: turned ? 'RSCK' : 'KCRS' }
    },
  })
  return source
}

function makeRecipe(file: Checkpoint, scheme: Scheme, prefix: string, name: string): Recipe | undefined {
  const place = placeOf(name, scheme)
  if (!place) return undefined
  const { part } = place
  const find = (member: keyof TensorNames) => {
    const found = nameAt(scheme, place, member, each => file.tensors.has(prefix + each))
    return found === undefined ? undefined : prefix + found
  }
  const ifThere = (member: keyof TensorNames) => {
    const found = find(member)
    return found !== undefined && file.tensors.has(found) ? found : undefined
  }
  const own = find(part)
  return {
    part,
    own,
    conv: own === undefined ? find('weight') : undefined,
    bias: part === 'mean' ? ifThere('bias') : undefined,
    factor: part === 'mean' || part === 'variance' ? ifThere('factor') : undefined,
    turned:
      (part === 'weight' && scheme.convLayout === 'RSCK') ||
      (part === 'linearWeight' && scheme.linearLayout === 'CK'),
  }
}

/** In our dimension order. */
function shapeOf(
  { own, conv, turned, part }: Recipe,
  { tensors }: Checkpoint,
): readonly number[] | undefined {
  if (own === undefined) return tensors.get(conv!)?.shape.slice(0, 1)
  const shape = tensors.get(own)?.shape
  if (!shape || !turned) return shape
  if (part === 'linearWeight' || shape.length !== 4) return shape.toReversed()
  const [r, s, c, k] = shape as [number, number, number, number]
  return [k, c, r, s]
}

async function make(
  recipe: Recipe,
  shape: readonly number[],
  file: Checkpoint,
  into?: Float32Array,
): Promise<Float32Array> {
  const { part, own, bias, factor, turned } = recipe
  if (turned) return readChannelsFirst(file, own!, shape, into)
  const data =
    own === undefined ? new Float32Array(shape[0]!).fill(identity[part]!) : await file.read(own, into)
  if (factor !== undefined) {
    // A factor of 0 means that there are no statistics; Caffe then uses 0.
    const [divisor = 0] = await file.read(factor)
    for (let k = 0; k < data.length; k++) data[k] = divisor === 0 ? 0 : data[k]! / divisor
  }
  if (bias !== undefined) {
    const added = await file.read(bias)
    if (added.length !== data.length) {
      const problem = `'${bias}' of ${file.path} has ${added.length} values, but it is added to ${data.length}`
      throw new ResidualError('CHECKPOINT_MISMATCH', `${problem} channels.`)
    }
    for (let k = 0; k < data.length; k++) data[k]! -= added[k]!
  }
  return data
}

/** Transposes `[R,S,C,K]` in the file to `[K,C,R,S]`, the `shape` of the result, and `[C,K]` to `[K,C]`. */
async function readChannelsFirst(
  file: Checkpoint,
  name: string,
  shape: readonly number[],
  into?: Float32Array,
): Promise<Float32Array> {
  const axes = shape.length === 4 ? [3, 2, 0, 1] : shape.map((_, i) => shape.length - 1 - i)
  if (file.readTurned) return file.readTurned(name, axes, into)
  return channelsFirst(await file.read(name), shape, into)
}

function channelsFirst(
  data: Float32Array,
  [channels, inputs, ...window]: readonly number[],
  into?: Float32Array,
): Float32Array {
  const [K, C] = [channels!, inputs!]
  const pixels = product(window) // R * S
  const result = into?.length === data.length ? into : new Float32Array(data.length)
  let from = 0
  for (let pixel = 0; pixel < pixels; pixel++)
    for (let c = 0; c < C; c++)
      for (let k = 0; k < K; k++) result[(k * C + c) * pixels + pixel] = data[from++]!
  return result
}
