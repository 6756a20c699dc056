// The mapping between our names (torchvision's) and those of a naming scheme.
import { stemNames } from '../../model/blocks.ts'
import type { LayerNames, Scheme, TensorNames } from './scheme.ts'

/** The role of a tensor in its layer: a member of {@link TensorNames}. */
export type TensorRole = 'weight' | 'gamma' | 'beta' | 'mean' | 'variance' | 'linearWeight' | 'linearBias'

/** A layer of the network, and the tensor's role in it. */
export interface Place {
  readonly part: TensorRole
  readonly layer: 'stem' | 'block' | 'projection' | 'classifier'
  /** Stage from 1, block from 0, convolution of a block or of the stem from 1, as far as they apply to the layer. */
  readonly i: number
  readonly j: number
  readonly k: number
}

const ourName =
  /^(?:(?<stem>(?:conv|bn)1(?:\.\d)?)|layer(?<i>\d+)\.(?<j>\d+)\.(?:(?<block>conv|bn)(?<k>\d+)|downsample\.(?<projection>[012]))|(?<fc>fc))\.(?<leaf>\w+)$/

const normParts: { readonly [leaf: string]: TensorRole } = {
  weight: 'gamma',
  bias: 'beta',
  running_mean: 'mean',
  running_var: 'variance',
}

/** The layers of a stem by our names. */
function layersOf(stem: readonly { readonly conv: string; readonly bn: string }[]) {
  const layers = new Map<string, { readonly k: number; readonly kind: 'conv' | 'bn' }>()
  for (const [i, { conv, bn }] of stem.entries())
    layers.set(conv, { k: i + 1, kind: 'conv' }).set(bn, { k: i + 1, kind: 'bn' })
  return layers
}
const [plainStem, deepStem] = [layersOf(stemNames.plain), layersOf(stemNames.deep)]

/**
 * The place of a tensor with our name `name`, in a network of the scheme's kind; undefined for names that no such network has.
 */
export function placeOf(name: string, scheme: Pick<Scheme, 'stem' | 'averagedShortcut'>): Place | undefined {
  const found = ourName.exec(name)?.groups
  if (!found) return undefined
  const { stem, block, projection, fc, leaf } = found
  const numbers = { i: Number(found.i), j: Number(found.j), k: Number(found.k) }
  if (fc) {
    if (leaf !== 'weight' && leaf !== 'bias') return undefined
    return { part: leaf === 'weight' ? 'linearWeight' : 'linearBias', layer: 'classifier', ...numbers }
  }
  const layer = stem ? 'stem' : block ? 'block' : 'projection'
  const inStem = (scheme.stem.length > 1 ? deepStem : plainStem).get(stem ?? '')
  const inProjection = ['conv', 'bn'][Number(projection) - (scheme.averagedShortcut ? 1 : 0)]
  const kind = stem ? inStem?.kind : (block ?? inProjection)
  if (kind === undefined) return undefined
  if (inStem) numbers.k = inStem.k
  const isConv = kind === 'conv'
  const part = isConv ? (leaf === 'weight' ? 'weight' : undefined) : normParts[leaf!]
  return part && { part, layer, ...numbers }
}

/**
 * The scheme's name, without prefix, for `member` at `place`. If blocks can be counted in two ways, it is the one that `has`
 * accepts. Undefined if the scheme has no such tensor.
 */
export function nameAt(
  { tensors, ...scheme }: Scheme,
  { layer, i, j, k }: Place,
  member: keyof TensorNames,
  has: (name: string) => boolean,
): string | undefined {
  const layers: Partial<LayerNames> & { classifier?: string } =
    layer === 'classifier'
      ? { classifier: scheme.classifier }
      : layer === 'stem'
        ? scheme.stem[k - 1]!
        : scheme[layer]
  const template = tensors[member]?.replace(
    /\{(conv|norm|scale|classifier)\}/g,
    (_, kind: keyof typeof layers) => layers[kind] ?? '',
  )
  if (template === undefined) return undefined
  const projects = (n: number) => has(`${scheme.projection.conv.replace('{n}', String(n))}.weight`)
  const number = template.includes('{n}') ? throughAllStages(i, j, projects) : 0
  const expand = (block: string) =>
    template
      .replaceAll('{j:a}', block)
      .replaceAll('{n}', String(number ?? '?'))
      .replaceAll('{k:a}', letter(k - 1))
      .replace(/\{([ijk])([+-]1)?\}/g, (_, index: 'i' | 'j' | 'k', step = 0) =>
        String({ i, j, k }[index] + Number(step)),
      )
  const usual = expand(letter(j))
  if (has(usual)) return usual
  const other = expand(j === 0 ? 'a' : `b${j}`)
  return has(other) ? other : usual
}

const mostBlocks = 200 // of any network

/** The number of block `j` of stage `i`, counted through all stages; undefined if the stage has fewer. */
function throughAllStages(i: number, j: number, projects: (n: number) => boolean): number | undefined {
  for (let n = 0, stage = 1, block = 0; n < mostBlocks; n++, block++) {
    if (n > 0 && projects(n)) {
      stage++
      block = 0
    }
    if (stage === i && block === j) return n
    if (stage > i) return undefined
  }
  return undefined
}

const letter = (index: number) => String.fromCharCode('a'.charCodeAt(0) + index)
