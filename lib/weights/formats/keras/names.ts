// Names of a Keras file's datasets: `conv1_conv/kernel` and the like, for each of Keras' file layouts.
import type { Dataset, Tree } from '../hdf5/dataset.ts'
import type { KerasLayer } from './config.ts'

/** The variables of a layer in Keras' order, by their number and ranks. */
const variables: readonly { readonly ranks: readonly number[]; readonly names: readonly string[] }[] = [
  { ranks: [4, 1], names: ['kernel', 'bias'] },
  { ranks: [4], names: ['kernel'] },
  { ranks: [2, 1], names: ['kernel', 'bias'] },
  { ranks: [2], names: ['kernel'] },
  { ranks: [1, 1, 1, 1], names: ['gamma', 'beta', 'moving_mean', 'moving_variance'] },
]

/**
 * The datasets of a file by `{layer}/{variable}`.
 *
 * @param layers the layers of the configuration that comes with the file, in order; older files do not say which layer is which
 * @throws Error if two have the same name, or a layer has none
 */
export function kerasTensors(
  { datasets, attributes }: Tree,
  layers: readonly Pick<KerasLayer, 'className' | 'name'>[] = [],
): Map<string, Dataset> {
  const weights = datasets.filter(
    ({ path }) => path.length > 1 && !/^(optimizer|optimizer_weights|_.*_metrics)$/.test(path[0]!),
  )
  const isNew = weights.some(({ path }) => path.at(-2) === 'vars')
  const named = isNew ? byVariable(weights, attributes, layers) : byName(weights)
  const result = new Map<string, Dataset>()
  for (const [name, dataset] of named) {
    if (result.has(name)) throw new Error(`it has '${name}' twice`)
    result.set(name, dataset)
  }
  return result
}

/** `[model_weights/]conv1_conv/conv1_conv/kernel:0`, and for a nested model `[model_weights/]resnet50/conv1_conv/kernel:0`. */
function* byName(datasets: readonly Dataset[]): Generator<[string, Dataset]> {
  const placed = datasets.map(dataset => {
    const path = dataset.path[0] === 'model_weights' ? dataset.path.slice(1) : dataset.path
    return { dataset, group: path[0]!, parent: path.at(-2)!, leaf: path.at(-1)!.replace(/:0$/, '') }
  })
  const parents = new Map<string, Set<string>>()
  for (const { group, parent } of placed) parents.set(group, (parents.get(group) ?? new Set()).add(parent))
  // Keras 2 adds _1 to the inner name if the outer one has been used before.
  for (const { dataset, group, parent, leaf } of placed)
    yield [`${parents.get(group)!.size === 1 ? group : parent}/${leaf}`, dataset]
}

/** `layers/conv2d_1/vars/0`, where `vars` carries the layer's name in files since about Keras 3.4. */
function* byVariable(
  datasets: readonly Dataset[],
  attributes: Tree['attributes'],
  layers: readonly Pick<KerasLayer, 'className' | 'name'>[],
): Generator<[string, Dataset]> {
  const configured = namesByGroup(layers)
  const groups = new Map<string, Dataset[]>()
  for (const dataset of datasets)
    if (dataset.path.at(-2) === 'vars') {
      const group = dataset.path.slice(0, -1).join('/')
      groups.set(group, [...(groups.get(group) ?? []), dataset])
    }
  for (const [group, found] of groups) {
    const inOrder = found.toSorted((a, b) => Number(a.path.at(-1)) - Number(b.path.at(-1)))
    const [, container, ...rest] = group.split('/')
    // A nested model restarts the numbering of layers.
    const fromConfiguration = rest.length === 1 ? configured.get(container!) : undefined
    const layer = attributes.get(group)?.get('name') ?? fromConfiguration
    if (layer === undefined || layer === '')
      throw new Error(
        `its '${group}' does not name its layer, as in files of early Keras 3. Save the model as .keras or .h5`,
      )
    const ranks = inOrder.map(({ shape }) => shape.length).join()
    const names = variables.find(each => each.ranks.join() === ranks)?.names
    for (const [i, dataset] of inOrder.entries()) yield [`${layer}/${names?.[i] ?? i}`, dataset]
  }
}

/** Keras numbers the layers of each class: `conv2d`, `conv2d_1`, ... */
function namesByGroup(layers: readonly Pick<KerasLayer, 'className' | 'name'>[]): Map<string, string> {
  const counts = new Map<string, number>()
  return new Map(
    layers.map(({ className, name }) => {
      const snake = className
        .replace(/\W+/g, '')
        .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
        .replace(/([a-z])([A-Z])/g, '$1_$2')
        .toLowerCase()
      const count = counts.get(snake) ?? 0
      counts.set(snake, count + 1)
      return [count === 0 ? snake : `${snake}_${count}`, name]
    }),
  )
}
