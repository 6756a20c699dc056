// Classes of images from the folders they lie in.

/** By image: the index of its class, where its folder tells. */
export interface FolderLabels {
  readonly labels: readonly (number | undefined)[]
  /**
   * How folders tell: by the name of a class (`names`), its index (`numbers`) or, where there are as many folders as classes, by
   * the order of their names (`order`), as torchvision's ImageFolder has it. `nothing` if they do not.
   */
  readonly by: 'names' | 'numbers' | 'order' | 'nothing'
  /** Folders that are no class's while others are. */
  readonly unknown: readonly string[]
}

/** `paths` lie below `root`, and the first folder on the way is that of a class, one of `labels`. */
export function labelsOfFolders(
  paths: readonly string[],
  root: string,
  labels: readonly string[],
): FolderLabels {
  const folders = paths.map(path => folderOf(path, root))
  const names = [...new Set(folders.filter(name => name !== undefined))].sort()
  const { by, classOf } = meaningOf(names, labels)
  return {
    labels: folders.map(name => (name === undefined ? undefined : classOf.get(name))),
    by,
    unknown: by === 'nothing' ? [] : names.filter(name => !classOf.has(name)),
  }
}

/** The first folder below `root`; undefined for an image in `root` itself. */
function folderOf(path: string, root: string): string | undefined {
  const prefix = `${root.replace(/[/\\]+$/, '')}/`
  const [folder, ...rest] = (path.startsWith(prefix) ? path.slice(prefix.length) : path).split('/')
  return rest.length > 0 ? folder : undefined
}

function meaningOf(
  names: readonly string[],
  labels: readonly string[],
): Pick<FolderLabels, 'by'> & { readonly classOf: ReadonlyMap<string, number> } {
  const byName = new Map<string, number>()
  for (const [index, label] of labels.entries())
    for (const name of [label, ...label.split(',')])
      if (!byName.has(plain(name))) byName.set(plain(name), index)
  const named = names.flatMap(name => {
    const index = byName.get(plain(name))
    return index === undefined ? [] : [[name, index] as const]
  })
  if (named.length > 0) return { by: 'names', classOf: new Map(named) }
  const areNumbers = names.every(name => /^\d+$/.test(name) && Number(name) < labels.length)
  if (names.length > 0 && areNumbers)
    return { by: 'numbers', classOf: new Map(names.map(name => [name, Number(name)])) }
  if (names.length === labels.length)
    return { by: 'order', classOf: new Map(names.map((name, index) => [name, index])) }
  return { by: 'nothing', classOf: new Map() }
}

/** A name in small letters, with a space for whatever parts its words. */
const plain = (name: string) =>
  name
    .trim()
    .toLowerCase()
    .replaceAll(/[\s_-]+/g, ' ')
